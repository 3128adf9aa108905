"""Field masks: which fields of an object an update may touch.

A path is a field, or a map and a key: ``labels.containerd.io/gc.ref.content.0``. Only the *first* dot divides; the
rest is the key, dots and slashes included. That is why a mask is only ever treated as a list of strings here:
protobuf's own JSON form of it would change such a key.

An empty mask means every field that may change. Source: containerd@301026e core/metadata/{images,content}.go.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from minicontainerd.errors import InvalidArgument


def split(path: str) -> tuple[str, str]:
    """A path as field and key; the key is empty where the path names a whole field.

    >>> split("labels.containerd.io/gc.root"), split("labels")
    (('labels', 'containerd.io/gc.root'), ('labels', ''))
    """
    field, _, key = path.partition(".")
    return field, key


def check(paths: Sequence[str], fields: Collection[str], maps: Collection[str], what: str) -> None:
    """Refuse a mask with a path that is none of *fields* and no key of one of *maps*.

    Raises:
        InvalidArgument: naming the path and *what* was to be updated.
    """
    for path in paths:
        field, key = split(path)
        if (key and field in maps) or (not key and field in fields):
            continue
        raise InvalidArgument(f"cannot update {path!r} of {what}")


def merge(old: Mapping[str, str], new: Mapping[str, str], paths: Sequence[str], field: str) -> dict[str, str]:
    """The map *field* after an update: replaced if the mask names it whole or is empty, else changed key by key.

    A key that the mask names and *new* leaves out, or gives as the empty string, is removed.

    >>> merge({"a": "1", "b": "2"}, {"a": "9"}, ["labels.a", "labels.b"], "labels")
    {'a': '9'}
    >>> merge({"a": "1"}, {"c": "3"}, [], "labels")
    {'c': '3'}
    """
    if not paths or field in paths:
        return {key: value for key, value in new.items() if value}
    merged = dict(old)
    for path in paths:
        name, key = split(path)
        if name != field:
            continue
        if new.get(key):
            merged[key] = new[key]
        else:
            merged.pop(key, None)
    return merged
