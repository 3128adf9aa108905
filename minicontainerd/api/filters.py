r"""Filters: the little language in which a client says which objects it wants.

::

    selectors := selector ("," selector)*          all must match
    selector  := path [operator value]             a path alone asks whether the field is there
    path      := field ("." field)*
    field     := quoted | [A-Za-z0-9_]+
    operator  := "==" | "!=" | "~="                 the last one is a regular expression
    value     := quoted | [^\s,]+
    quoted    := a string in double quotes, with Go's escapes; after ~= also between / / or | |

Several filters in one request are alternatives: any may match. ``!=`` also matches where the field is missing.
A slash opens a quotation wherever it stands outside a value, so the key of most labels must be quoted:
``labels."containerd.io/gc.root"``.

Source: containerd@301026e pkg/filters/{parser,scanner,quote,filter}.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from minicontainerd.errors import InvalidArgument

Lookup = Callable[[Sequence[str]], str | None]
"""Asked with a path, answers the field's value, or None where the object has no such field."""

_FIELD = re.compile(r"[A-Za-z0-9_]+")
_OPERATOR = re.compile(r"[=!~]+")
_VALUE = re.compile(r"[^\s,]+")
_SPACE = re.compile(r"\s*")
_ESCAPE = re.compile(r"\\([0-7]{3}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}


@dataclass(frozen=True)
class Selector:
    """One comparison. *operator* is empty for a question of presence."""

    path: tuple[str, ...]
    operator: str = ""
    value: str = ""

    def matches(self, lookup: Lookup) -> bool:
        """Whether the object behind *lookup* passes."""
        found = lookup(self.path)
        if self.operator == "":
            return found is not None
        if self.operator == "==":
            return found == self.value
        if self.operator == "!=":
            return (found or "") != self.value
        try:
            return re.search(self.value, found or "") is not None
        except re.error:
            return False  # as containerd: a broken expression matches nothing and is no error


@dataclass(frozen=True)
class Filters:
    """Alternatives, each a list of selectors that must all match; no alternative at all matches everything."""

    alternatives: tuple[tuple[Selector, ...], ...] = ()

    def match(self, lookup: Lookup) -> bool:
        """Whether the object behind *lookup* is wanted."""
        if not self.alternatives:
            return True
        return any(all(selector.matches(lookup) for selector in every) for every in self.alternatives)


def parse(filters: Iterable[str]) -> Filters:
    """Parse the filters of one request; an empty one matches everything.

    >>> parse(['name==a,labels."x/y"', "kind~=/^c/"]).alternatives[1]
    (Selector(path=('kind',), operator='~=', value='^c'),)

    Raises:
        InvalidArgument: showing where in the text the mistake is.
    """
    return Filters(tuple(_Parser(text).selectors() if text else () for text in filters))


def fields(**known: str | Mapping[str, str] | None) -> Lookup:
    """A lookup over plain values and one-level maps.

    >>> lookup = fields(name="a", labels={"b.c": "1"})
    >>> lookup(["name"]), lookup(["labels", "b", "c"]), lookup(["labels", "d"]), lookup(["other"])
    ('a', '1', None, None)
    """

    def lookup(path: Sequence[str]) -> str | None:
        value = known.get(path[0])
        if value is None:
            return None
        if isinstance(value, str):
            return value if len(path) == 1 else None
        return value.get(".".join(path[1:]))

    return lookup


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def selectors(self) -> tuple[Selector, ...]:
        found = [self.selector()]
        while self._skip_space() < len(self.text):
            if self.text[self.at] != ",":
                raise self._error(f"unexpected input: {self.text[self.at]}")
            self.at += 1
            found.append(self.selector())
        return tuple(found)

    def selector(self) -> Selector:
        path = [self.field()]
        while self.text[self.at : self.at + 1] == ".":
            self.at += 1
            path.append(self.field())
        if self._skip_space() == len(self.text) or self.text[self.at] == ",":
            return Selector(tuple(path))
        operator = self._take(_OPERATOR)
        if operator is None:
            self._refuse_quotation()
            raise self._error('expected an operator ("=="|"!="|"~=")')
        if operator not in ("==", "!=", "~="):
            raise self._error(f'unsupported operator "{operator}"')
        return Selector(tuple(path), operator, self.value(quotes='"/|' if operator == "~=" else '"'))

    def field(self) -> str:
        self._skip_space()
        if self.text[self.at : self.at + 1] in ('"', "/", "|"):
            return self.quoted('"')
        field = self._take(_FIELD)
        if field is None:
            raise self._error("expected field or quoted")
        return field

    def value(self, quotes: str) -> str:
        self._skip_space()
        if self.text[self.at : self.at + 1] in ('"', "/", "|"):
            return self.quoted(quotes)
        value = self._take(_VALUE)
        if value is None:
            raise self._error("expected value or quoted")
        return value

    def quoted(self, allowed: str) -> str:
        """A quotation that starts here; its quote must be one of *allowed*."""
        start, quote = self.at, self.text[self.at]
        body = re.compile(rf"{re.escape(quote)}((?:\\.|[^\\\n{re.escape(quote)}])*){re.escape(quote)}")
        match = body.match(self.text, self.at)
        if match is None:
            raise self._error("quoted literal not terminated")
        if quote not in allowed:
            raise self._error("invalid quote encountered")
        self.at = match.end()
        return _ESCAPE.sub(lambda escape: self._unescape(escape.group(1), quote, start), match.group(1))

    def _refuse_quotation(self) -> None:
        """A quote that stands where an operator should is told as containerd tells it: by the quotation first."""
        if self.text[self.at] in '"/|':
            start = self.at
            self.quoted(self.text[start])
            self.at = start

    def _unescape(self, escape: str, quote: str, start: int) -> str:
        if escape == quote:
            return quote
        if escape in _PLAIN:
            return _PLAIN[escape]
        if len(escape) == 3 and escape[0] in "01234567":
            return chr(int(escape, 8))
        if len(escape) > 1 and escape[0] in "xuU" and int(escape[1:], 16) <= 0x10FFFF:
            return chr(int(escape[1:], 16))
        if quote != '"':
            return "\\" + escape  # between slashes or bars a regular expression keeps its own escapes
        self.at = start
        raise self._error("illegal escape sequence")

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match.group()

    def _skip_space(self) -> int:
        match = _SPACE.match(self.text, self.at)
        assert match is not None, "the pattern matches the empty string"
        self.at = match.end()
        return self.at

    def _error(self, message: str) -> InvalidArgument:
        shown = f"[{self.text}]"
        if self.at < len(self.text):
            shown = f"[{self.text[: self.at]} >|{self.text[self.at]}|< {self.text[self.at + 1 :]}]"
        return InvalidArgument(f"filters: parse error: {shown}: {message}")
