"""Is a config.json made of what the types say? Each value of its kind, each number within its bounds.

``json.load`` believes what it reads, and so does what comes after: a text where a list should be is walked letter by
letter, and ``"false"`` is true. So the annotations of ``runtime.py`` are held against the document before anybody uses
it. Keys that the types do not have are nobody's business, as the specification wants it; ``null`` is how encoders in Go
write what is not there, and is dropped.

Source: runtime-spec 1.3 config.md#extensibility, specs-go/config.go for the bounds.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from ..errors import InvalidArgument
from . import runtime

_PLAIN = {"str": (str, "a string"), "bool": (bool, "true or false"), "int": (int, "a whole number")}
_BOUNDS = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint16": (0, (1 << 16) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
}


def read(text: str | bytes, kind: str) -> Any:
    """The JSON document *text*, which must be a *kind*: the name of one of the types of ``runtime.py``.

    Raises:
        InvalidArgument: it is no JSON, or the first value that is of another kind, with its place.

    >>> read('{"uid": 1, "umask": null, "more": []}', "User")
    {'uid': 1, 'more': []}
    >>> read('{"process": {"user": {"uid": -1}}}', "Spec")
    Traceback (most recent call last):
        ...
    minicontainerd.errors.InvalidArgument: process.user.uid: -1 is not within 0 and 4294967295: invalid argument
    """
    try:
        value = json.loads(text, object_pairs_hook=without_nulls)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
    except RecursionError:
        raise InvalidArgument("it is nested too deeply") from None
    _check(value, kind, "")
    return value


def without_nulls(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object for ``json.loads``, without what is not there: its hook for *pairs* of keys and values."""
    return {key: value for key, value in pairs if value is not None}


def _check(value: Any, kind: str, where: str) -> None:
    if kind in _PLAIN:
        _expect(value, *_PLAIN[kind], where)
        if kind == "str":
            _expect_text(value, where)
    elif kind in _BOUNDS:
        _expect(value, *_PLAIN["int"], where)
        least, most = _BOUNDS[kind]
        if not least <= value <= most:
            raise InvalidArgument(f"{where}: {value} is not within {least} and {most}")
    elif kind.startswith("list["):
        _expect(value, list, "a list", where)
        for number, each in enumerate(value):
            _check(each, kind[len("list[") : -1], f"{where}[{number}]")
    elif kind.startswith("dict[str, "):
        _expect(value, dict, "an object", where)
        for key, each in value.items():
            _expect_text(key, where)
            _check(each, kind[len("dict[str, ") : -1], _below(where, key))
    else:
        _check_fields(value, kind, where)


def _check_fields(value: Any, kind: str, where: str) -> None:
    _expect(value, dict, "an object", where)
    fields, required = _fields(kind)
    for key, each in value.items():
        if key in fields:
            _check(each, fields[key], _below(where, key))
    for key in required:
        if key not in value:
            raise InvalidArgument(f"{_below(where, key)} is missing")


def _expect(value: Any, kind: type, said: str, where: str) -> None:
    if type(value) is not kind:  # and no subclass: to Python, true is a number
        raise InvalidArgument(f"{where or 'the document'}: {said} is wanted, not {json.dumps(value)[:60]}")


def _expect_text(value: str, where: str) -> None:
    """Half of a surrogate pair, which JSON can spell, is no character; nothing could be done with it later."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"{where}: {ascii(value)[:60]} is no text: a surrogate stands alone in it") from None


def _below(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


@functools.cache
def _fields(kind: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """The fields of a type, each with its kind, and which of them have to be there."""
    declared = getattr(runtime, kind)
    fields: dict[str, str] = {key: each.__forward_arg__ for key, each in declared.__annotations__.items()}
    required = [key for key, each in fields.items() if declared.__total__ or each.startswith("Required[")]
    return {key: _without_required(each) for key, each in fields.items()}, tuple(required)


def _without_required(kind: str) -> str:
    return kind[len("Required[") : -1] if kind.startswith("Required[") else kind
