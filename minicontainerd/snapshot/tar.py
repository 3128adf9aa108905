"""Tar, the format of layers: one 512-byte header a file, its content, padding, and forty years of extensions.

::

    header │ content … padding │ header │ header │ content … padding │ … │ two blocks of zeros
    └ 512 ┘                     └ describes the next one: long names, big numbers, times, attributes

A header has room for a name of 100 bytes and for numbers in octal. What does not fit comes in an entry before it, of
type ``x`` (PAX, records like ``30 mtime=1700000000.123456789``), or ``L`` and ``K`` (GNU, long names), or in base 256.
A sparse file has only its data in the archive, and a map of where it belongs, of which there are four dialects.

:class:`Reader` takes the archive as chunks of bytes, from a thread that decompresses (compression.py), and never
seeks. Content is handed on as views into those chunks, so it is not copied on its way to write(2). The standard
library's tarfile does all this too; it needs seven times as long for a header, and does not keep attributes that are
no text. :func:`pack` is the other direction.

Names are text as Python's os functions have it: bytes that are no UTF-8 survive as surrogate escapes.
Limits and tolerance follow Go's archive/tar (go1.24), which is what containerd reads with.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from minicontainerd.errors import InvalidArgument

BLOCK = 512
MAX_SPECIAL = 1 << 20  # bytes of one extension header; Go's own limit
MAX_TIME = 2**63 - 1  # nanoseconds: the year 2262
XATTR = "SCHILY.xattr."

FILE, LINK, SYMLINK, CHARACTER, BLOCKS, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_SPARSE, _PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"S", b"x", b"g", b"L", b"K"
_WITHOUT_CONTENT = frozenset((LINK, SYMLINK, CHARACTER, BLOCKS, DIRECTORY, FIFO))

_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_USTAR = b"ustar\x0000"


@dataclass(slots=True)
class Entry:
    """One file of the archive. Times in nanoseconds since 1970; *extents* is the map of a sparse file."""

    name: str
    type: bytes = FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    atime: int = 0
    link: str = ""
    major: int = 0
    minor: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)
    extents: list[tuple[int, int]] | None = None


class Reader:
    """Iterate to get entries in order; between two, :meth:`data` gives the content of the first.

    Raises:
        InvalidArgument: the archive is damaged, or ends in the middle.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._view = memoryview(b"")
        self._left = 0  # bytes of content not handed out yet
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        pax: dict[str, bytes] = {}
        name = link = b""
        while (block := self._next_header()) is not None:
            fields = _HEADER.unpack(block)
            kind, size = fields[7], _number(fields[4])
            if size < 0:
                raise InvalidArgument("invalid tar header: negative size")
            if kind in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
                special = self._special(size)
                if kind == _PAX:
                    pax = _records(special)
                elif kind != _PAX_GLOBAL:  # what is said for all entries to come, containerd ignores
                    name, link = (special, link) if kind == _GNU_NAME else (name, special)
                continue
            entry = _entry(fields, name.partition(b"\0")[0], link.partition(b"\0")[0], pax)
            stored = 0 if entry.type in _WITHOUT_CONTENT else _pax_number(pax, "size", size)
            self._left, self._padding = stored, -stored % BLOCK
            if kind == _SPARSE or any(key.startswith("GNU.sparse.") for key in pax):
                self._read_map(entry, block, pax)
            entry.size = entry.size if entry.extents is not None else stored
            yield entry
            pax, name, link = {}, b"", b""

    def data(self) -> Iterator[memoryview]:
        """The content of the last entry, in pieces; of a sparse file, its extents one after the other."""
        while self._left:
            piece = self._some(self._left)
            self._left -= len(piece)
            yield piece

    def drain(self) -> None:
        """Read what follows the end of the archive, so that a digest of the stream is of all of it."""
        self._view = memoryview(b"")
        for _ in self._chunks:
            pass

    def _next_header(self) -> memoryview | bytes | None:
        for _ in self.data():  # whatever was not wanted
            pass
        self._take(self._padding)
        self._padding = 0
        block = self._take(BLOCK, or_end=True)
        if not block or not any(block):  # Go wants two blocks of zeros, or the end of the stream, or both
            return None
        _check_sum(block)
        return block

    def _some(self, most: int) -> memoryview:
        """At least one byte and at most *most*."""
        while not self._view:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise InvalidArgument("unexpected EOF: the archive ends in the middle of an entry")
            self._view = memoryview(chunk)
        piece, self._view = self._view[:most], self._view[most:]
        return piece

    def _take(self, count: int, *, or_end: bool = False) -> memoryview | bytes:
        """Exactly *count* bytes; nothing at the end of the stream, if that is allowed."""
        if len(self._view) >= count:
            piece, self._view = self._view[:count], self._view[count:]
            return piece
        gathered = bytearray()
        while len(gathered) < count:
            try:
                gathered += self._some(count - len(gathered))
            except InvalidArgument:
                if or_end and not gathered:
                    return b""
                raise
        return bytes(gathered)

    def _special(self, size: int) -> bytes:
        if size > MAX_SPECIAL:
            raise InvalidArgument(f"extension header of {size} bytes, the limit is {MAX_SPECIAL}")
        content = bytes(self._take(size))
        self._take(-size % BLOCK)
        return content

    def _read_map(self, entry: Entry, block: memoryview | bytes, pax: dict[str, bytes]) -> None:
        """Find where the data of a sparse file belongs, in whichever dialect it is said."""
        if entry.type == _SPARSE:
            entry.type = FILE
            numbers = self._old_gnu_map(bytes(block))
            size = _number(block[483:495])
        elif pax.get("GNU.sparse.major") == b"1":
            numbers = self._map_in_content()
            size = _pax_number(pax, "GNU.sparse.realsize", 0)
        else:
            numbers = [_decimal(text) for text in pax.get("GNU.sparse.map", b"").split(b",") if text]
            size = _pax_number(pax, "GNU.sparse.size", 0)
        entry.name = os.fsdecode(pax.get("GNU.sparse.name", os.fsencode(entry.name)))
        extents = [(start, length) for start, length in zip(numbers[::2], numbers[1::2], strict=True) if length]
        ends = [0, *(start + length for start, length in extents)]
        ordered = all(start >= end for (start, _), end in zip(extents, ends, strict=False))
        if not ordered or ends[-1] > size or sum(length for _, length in extents) != self._left:
            raise InvalidArgument(f"{entry.name}: invalid map of a sparse file")
        entry.size, entry.extents = size, extents

    def _old_gnu_map(self, block: bytes) -> list[int]:
        numbers, area, more = [], block[386:482], block[482]
        while True:
            for at in range(0, len(area), 12):
                if area[at] == 0:
                    break
                numbers.append(_number(area[at : at + 12]))
            if not more:
                return numbers
            if len(numbers) > MAX_SPECIAL // 12:
                raise InvalidArgument("the map of a sparse file is too long")
            extension = bytes(self._take(BLOCK))
            area, more = extension[:504], extension[504]

    def _map_in_content(self) -> list[int]:
        """The dialect of today: decimal numbers, one a line, in the first blocks of the content."""
        text, wanted = b"", 1
        while text.count(b"\n") < wanted:
            if len(text) > MAX_SPECIAL or self._left < BLOCK:
                raise InvalidArgument("the map of a sparse file is damaged")
            text += self._take(BLOCK)
            self._left -= BLOCK
            if b"\n" in text:
                wanted = 1 + 2 * _decimal(text[: text.index(b"\n")])
        return [_decimal(line) for line in text.split(b"\n")[1:wanted]]


def _check_sum(block: memoryview | bytes) -> None:
    wanted = _number(block[148:156])
    total = sum(block) - sum(block[148:156]) + 8 * 0x20
    if total == wanted:
        return
    if total - 256 * sum(byte > 127 for byte in block) != wanted:  # old writers on some machines had signed bytes
        raise InvalidArgument("invalid tar header: wrong checksum")


def _number(text: bytes | memoryview) -> int:
    """A number in octal, or in base 256 if the first bit is set."""
    text = bytes(text)
    if text[0] & 0x80:
        value = int.from_bytes(text, "big", signed=bool(text[0] & 0x40))
        return value if value < 0 else value & ~(0x80 << 8 * (len(text) - 1))
    digits = text.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise InvalidArgument("invalid tar header: a number is not octal")
    return int(digits, 8)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise InvalidArgument("invalid tar header: a number is not decimal")
    return int(text)


def _pax_number(pax: dict[str, bytes], key: str, default: int) -> int:
    return _decimal(pax[key]) if key in pax else default


def _nanoseconds(text: bytes) -> int:
    """A PAX time, with any number of decimals; what is not between 1970 and 2262 is 1970, as containerd has it."""
    whole, _, fraction = text.partition(b".")
    negative, digits = whole.startswith(b"-"), whole.lstrip(b"-")
    if not digits.isdigit() or (fraction and not fraction.isdigit()):
        raise InvalidArgument("invalid tar header: a time is not a number")
    return _bounded(-1 if negative else int(digits) * 10**9 + int(fraction[:9].ljust(9, b"0")))


def _bounded(nanoseconds: int) -> int:
    return nanoseconds if 0 <= nanoseconds <= MAX_TIME else 0


def _records(text: bytes) -> dict[str, bytes]:
    """PAX records: ``length key=value\\n``, the length counting itself. Values may be any bytes.

    >>> _records(b"12 path=a/b\\n")
    {'path': b'a/b'}
    """
    found: dict[str, bytes] = {}
    while text:
        digits, space, _ = text.partition(b" ")
        length = _decimal(digits)
        key, equals, value = text[len(digits) + 1 : length].partition(b"=")
        if not space or not equals or not key or value[-1:] != b"\n" or length > len(text):
            raise InvalidArgument("invalid tar header: damaged PAX record")
        name, value, text = os.fsdecode(key), value[:-1], text[length:]
        if name in ("GNU.sparse.offset", "GNU.sparse.numbytes"):  # the oldest dialect repeats these for every extent
            found["GNU.sparse.map"] = found.get("GNU.sparse.map", b"") + value + b","
        elif value:
            found[name] = value
        else:
            found.pop(name, None)  # an empty value means: not this one
    return found


def _text(field_: bytes) -> str:
    return os.fsdecode(field_.partition(b"\0")[0])


def _entry(fields: tuple[bytes, ...], name: bytes, link: bytes, pax: dict[str, bytes]) -> Entry:
    """Put together what the header says, what was said before it, and what PAX says, which wins."""
    kind = FILE if fields[7] in (b"\0", b"7") else fields[7]
    short = _text(fields[0])
    if fields[9] == _USTAR and fields[14][0]:
        short = f"{_text(fields[14])}/{short}"
    entry = Entry(
        name=os.fsdecode(pax.get("path", b"") or name) or short,
        type=kind,
        mode=_number(fields[1]) & 0o7777,
        uid=_pax_number(pax, "uid", _number(fields[2])),
        gid=_pax_number(pax, "gid", _number(fields[3])),
        mtime=_nanoseconds(pax["mtime"]) if "mtime" in pax else _bounded(_number(fields[5]) * 10**9),
        link=os.fsdecode(pax.get("linkpath", b"") or link) or _text(fields[8]),
    )
    if fields[7] == b"\0" and entry.name.endswith("/"):
        entry.type = DIRECTORY  # how directories were written before there was a type for them
    if kind in (CHARACTER, BLOCKS):
        entry.major, entry.minor = _number(fields[12]), _number(fields[13])
    if "atime" in pax:
        entry.atime = _nanoseconds(pax["atime"])
    for key, value in pax.items():
        if key.startswith(XATTR):
            entry.xattrs[key[len(XATTR) :]] = value
    if "\0" in entry.name or "\0" in entry.link:
        raise InvalidArgument(f"{entry.name!r}: invalid tar header: a zero byte in a name")
    return entry


def pack(entry: Entry) -> bytes:
    """The header of *entry*, with a PAX header before it if anything needs one. Content and :func:`padding` follow.

    >>> [entry] = Reader([pack(Entry("long" * 50, mtime=15, xattrs={"user.a": bytes(1)}))])
    >>> entry.name[-6:], entry.mtime, entry.xattrs
    ('nglong', 15, {'user.a': b'\\x00'})
    """
    records: dict[str, bytes] = {XATTR + key: value for key, value in entry.xattrs.items()}
    name, link = os.fsencode(entry.name), os.fsencode(entry.link)
    if len(name) > 100 or not name.isascii():
        records["path"] = name
    if len(link) > 100 or not link.isascii():
        records["linkpath"] = link
    for key, number, digits in (("size", entry.size, 11), ("uid", entry.uid, 7), ("gid", entry.gid, 7)):
        if number >= 8**digits:
            records[key] = b"%d" % number
    seconds, fraction = divmod(entry.mtime, 10**9)
    if fraction or seconds >= 8**11:
        records["mtime"] = b"%d.%09d" % (seconds, fraction)
    header = _block(entry, name[:100], link[:100], min(seconds, 8**11 - 1))
    if not records:
        return header
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    directory, _, base = entry.name.rstrip("/").rpartition("/")
    about = Entry(f"{directory}/PaxHeaders.0/{base}".lstrip("/"), _PAX, size=len(body))
    return _block(about, os.fsencode(about.name)[:100], b"", 0) + body + padding(len(body)) + header


def _record(key: str, value: bytes) -> bytes:
    body = b" " + os.fsencode(key) + b"=" + value + b"\n"
    length = len(body) + len(str(len(body)))
    length = len(body) + len(str(length))  # once more, in case the length itself got longer
    return str(length).encode() + body


def _block(entry: Entry, name: bytes, link: bytes, seconds: int) -> bytes:
    def octal(number: int, digits: int) -> bytes:
        return b"%0*o\0" % (digits, number if number < 8**digits else 0)

    fields = [name, octal(entry.mode, 7), octal(entry.uid, 7), octal(entry.gid, 7), octal(entry.size, 11)]
    fields += [octal(seconds, 11), b" " * 8, entry.type, link, _USTAR, b"", b""]
    fields += [octal(entry.major, 7), octal(entry.minor, 7), b""]
    block = bytearray(_HEADER.pack(*fields))
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padding(size: int) -> bytes:
    """What follows *size* bytes of content."""
    return bytes(-size % BLOCK)


END = bytes(2 * BLOCK)
