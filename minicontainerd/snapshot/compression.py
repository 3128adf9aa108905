"""Gzip and zstd around a layer, and the thread that does it while another one writes files.

A layer is read as a pipeline of two threads, and each hand-over is a chunk of about a megabyte::

    blob ──▶ decompress ──▶ sha256 (the diff id) ──▶ queue of 8 chunks ──▶ tar ──▶ files
    └────────────── a thread of its own ────────────┘                     └─ caller ─┘

It pays because decompression and hashing run outside of Python's global lock. Chunks must be large: each return into
Python may wait for the other thread to let go of that lock, 5 milliseconds at worst.

What decides is the bytes, not the media type, except that an OCI media type without suffix is a promise that there is
no compression. Several gzip members or zstd frames in a row are one stream, as the specification of both has it.
Source: containerd@301026e pkg/archive/compression; core/images/mediatypes.go, ``DiffCompression``.
"""

from __future__ import annotations

import hashlib
import itertools
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Protocol, cast

import zstandard
from isal import isal_zlib

from minicontainerd.errors import InvalidArgument, Unimplemented

CHUNK = 1 << 18  # bytes of compressed data a step; about a megabyte without compression
_GZIP, _ZSTD = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = tuple(bytes((0x50 + n, 0x2A, 0x4D, 0x18)) for n in range(16))
_GZIP_ERROR = cast(type[Exception], isal_zlib.error)  # its annotation calls it an instance
_GZIP_FORMAT = 31  # zlib's wbits: a window of 32 KiB, with a gzip header
_MAX_WINDOW = 1 << 27  # bytes of memory that a zstd frame may ask for; zstd's own limit for its command line


class Readable(Protocol):
    """Anything to read bytes from."""

    def read(self, size: int = -1, /) -> bytes: ...


def decompressed(stream: Readable, compression: str | None = None) -> Iterator[bytes]:
    """The content of *stream*, in chunks; *compression* is as :func:`oci.image.compression` has it.

    Raises:
        InvalidArgument: the compressed data is damaged or ends too early.
    """
    if compression not in (None, "", "gzip", "zstd"):
        raise Unimplemented(f"compression {compression}")
    first = stream.read(CHUNK)
    chunks = itertools.chain([first], iter(lambda: stream.read(CHUNK), b""))
    if compression == "" or not first:
        return (chunk for chunk in chunks if chunk)
    if first.startswith(_GZIP):
        return _members(chunks, lambda: isal_zlib.decompressobj(wbits=_GZIP_FORMAT), _GZIP_ERROR)
    if first.startswith((_ZSTD, *_ZSTD_SKIPPABLE)):
        new = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj
        return _members(chunks, new, zstandard.ZstdError)
    return chunks


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _members(chunks: Iterable[bytes], new: Callable[[], _Decompressor], error: type[Exception]) -> Iterator[bytes]:
    """Decompress one member after the other, with a *new* decompressor for each."""
    current = new()
    begun = False
    try:
        for chunk in chunks:
            while chunk:
                begun = True
                if output := current.decompress(chunk):
                    yield output
                chunk = current.unused_data if current.eof else b""
                if current.eof:
                    current, begun = new(), False
    except error as damage:
        raise InvalidArgument(f"layer: {damage}") from damage
    if begun:
        raise InvalidArgument("layer: unexpected EOF: the compressed data ends too early")


class Digesting:
    """Iterate over *chunks*, and know their digest and length afterwards."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._hash.update(chunk)
            self.size += len(chunk)
            yield chunk

    @property
    def digest(self) -> str:
        """The sha256 digest of what has been read so far."""
        return f"sha256:{self._hash.hexdigest()}"


def ahead(chunks: Iterable[bytes], depth: int = 8) -> Generator[bytes, None, None]:
    """Iterate over *chunks* in a thread that is up to *depth* chunks ahead; its errors are raised here.

    The thread ends with the iteration, also if the caller stops in the middle and closes the generator.
    """
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def produce() -> None:
        outcome: BaseException | None = None
        try:
            for chunk in chunks:
                ready.put(chunk)
                if stop.is_set():
                    return
        except BaseException as error:  # raised where the chunks are wanted
            outcome = error
        ready.put(outcome)

    thread = threading.Thread(target=produce, name="layer", daemon=True)
    thread.start()
    ended = False
    try:
        while not ended:
            item = ready.get()
            ended = not isinstance(item, bytes)
            if isinstance(item, bytes):
                yield item
            elif item is not None:
                raise item
    finally:
        stop.set()
        while not ended and thread.is_alive():  # it may wait for room in the queue
            try:
                ready.get(timeout=0.05)
            except queue.Empty:
                continue
        thread.join()


def compressed(chunks: Iterable[bytes], compression: str) -> Iterator[bytes]:
    """Compress *chunks* by ``gzip`` (without time and name, so that equal input is equal output), ``zstd``, or not.

    Raises:
        Unimplemented: anything else.
    """
    if compression == "":
        yield from chunks
        return
    packer: Any
    if compression == "gzip":
        packer = isal_zlib.compressobj(isal_zlib.ISAL_DEFAULT_COMPRESSION, wbits=_GZIP_FORMAT)
    elif compression == "zstd":
        packer = zstandard.ZstdCompressor(level=3).compressobj()
    else:
        raise Unimplemented(f"compression {compression}")
    for chunk in chunks:
        if output := packer.compress(chunk):
            yield output
    yield packer.flush()
