"""Compression: what goes in comes out, several members are one stream, and threads end with their iteration."""

from __future__ import annotations

import gzip
import io
import itertools
import threading
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from minicontainerd.errors import InvalidArgument, Unimplemented
from minicontainerd.oci.digest import of
from minicontainerd.snapshot.compression import Digesting, ahead, compressed, decompressed

DATA = b"some text, again and again " * 100_000


def unpack(data: bytes, kind: str | None = None) -> bytes:
    return b"".join(decompressed(io.BytesIO(data), kind))


@given(st.lists(st.binary(max_size=5000)), st.sampled_from(["", "gzip", "zstd"]))
def test_what_is_compressed_is_decompressed(chunks: list[bytes], kind: str) -> None:
    assert unpack(b"".join(compressed(chunks, kind)), kind) == b"".join(chunks)


def test_equal_input_is_equal_output() -> None:
    assert len({b"".join(compressed([DATA], "gzip")) for _ in range(3)}) == 1


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(DATA) * 3,
        zstandard.compress(DATA) * 3,
        b"\x50\x2a\x4d\x18\x01\0\0\0!" + zstandard.compress(DATA * 3),
    ],
)
def test_members_in_a_row_are_one_stream(data: bytes) -> None:
    assert unpack(data) == DATA * 3


def test_bytes_decide_but_a_type_without_compression_is_a_promise() -> None:
    assert unpack(DATA, "gzip") == DATA
    assert unpack(gzip.compress(b"x", mtime=0), "") == gzip.compress(b"x", mtime=0)
    with pytest.raises(Unimplemented):
        unpack(b"", "xz")


@pytest.mark.parametrize("pack", [lambda data: gzip.compress(data), zstandard.compress])
def test_damage_and_an_early_end_are_refused(pack: object) -> None:
    data = pack(DATA)  # type: ignore[operator]
    with pytest.raises(InvalidArgument, match="too early"):
        unpack(data[:-20])
    with pytest.raises(InvalidArgument):
        unpack(data[: len(data) // 2] + b"damage" + data[len(data) // 2 + 6 :])


def test_a_digest_is_taken_on_the_way() -> None:
    digesting = Digesting([b"a", b"b"])
    assert list(digesting) == [b"a", b"b"]
    assert (digesting.digest, digesting.size) == (of(b"ab"), 2)


def test_the_thread_ahead_ends_when_the_caller_stops() -> None:
    before = threading.active_count()
    stream = ahead(itertools.repeat(b"x"))
    assert next(stream) == b"x"
    stream.close()
    assert threading.active_count() == before


def test_errors_of_the_thread_ahead_are_raised_here() -> None:
    def fail() -> Iterator[bytes]:
        yield b"x"
        raise InvalidArgument("damaged")

    with pytest.raises(InvalidArgument, match="damaged"):
        list(ahead(fail()))
