"""Layers written by hand, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from minicontainerd.snapshot import tar
from minicontainerd.snapshot.tar import Entry

Item = Entry | tuple[Entry, bytes]


def chunks(*items: Item) -> Iterator[bytes]:
    """The archive of *items*; an entry with content says its own size."""
    for item in items:
        entry, data = item if isinstance(item, tuple) else (item, b"")
        entry.size = entry.size or len(data)
        yield tar.pack(entry) + data + tar.padding(len(data))
    yield tar.END


def file(name: str, data: bytes = b"", **fields: object) -> tuple[Entry, bytes]:
    return Entry(name, **fields), data  # type: ignore[arg-type]


def directory(name: str, mode: int = 0o755, **fields: object) -> Entry:
    return Entry(name, tar.DIRECTORY, mode, **fields)  # type: ignore[arg-type]


def symlink(name: str, target: str) -> Entry:
    return Entry(name, tar.SYMLINK, link=target)


def link(name: str, target: str) -> Entry:
    return Entry(name, tar.LINK, link=target)


def many(names: Iterable[str]) -> list[Item]:
    return [file(name, name.encode()) for name in names]
