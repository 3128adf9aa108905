"""The archive format: what is packed reads back, what other programs write is read, what is damaged is refused."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicontainerd.errors import ContainerdError, InvalidArgument
from minicontainerd.snapshot import tar
from minicontainerd.snapshot.tar import Entry, Reader


def archive(*entries: tuple[Entry, bytes]) -> bytes:
    return b"".join(tar.pack(entry) + data + tar.padding(len(data)) for entry, data in entries) + tar.END


def read(data: bytes, chunk: int = 1000) -> list[tuple[Entry, bytes]]:
    reader = Reader(data[at : at + chunk] for at in range(0, len(data), chunk))
    return [(entry, b"".join(map(bytes, reader.data()))) for entry in reader]


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=300)
entries = st.builds(
    Entry,
    name=names,
    type=st.sampled_from([tar.FILE, tar.DIRECTORY, tar.SYMLINK, tar.LINK, tar.FIFO]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    mtime=st.integers(0, tar.MAX_TIME),
    link=names,
    xattrs=st.dictionaries(st.from_regex(r"user\.[a-z.]{1,20}", fullmatch=True), st.binary(min_size=1), max_size=3),
)


@given(st.lists(st.tuples(entries, st.binary(max_size=2000)), max_size=4), st.integers(1, 3000))
def test_what_is_packed_reads_back(wanted: list[tuple[Entry, bytes]], chunk: int) -> None:
    for at, (entry, data) in enumerate(wanted):
        wanted[at] = (entry, data if entry.type == tar.FILE else b"")
        entry.size = len(wanted[at][1])
    assert read(archive(*wanted), chunk) == wanted


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_the_standard_library_are_read(form: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as writer:
        for name in ("short", "long/" * 25 + "name", *(["even longer/" * 40] if form != tarfile.USTAR_FORMAT else [])):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid = 3, 1_700_000_000, 3_000_000 if form != tarfile.USTAR_FORMAT else 7
            writer.addfile(info, io.BytesIO(b"abc"))
    for entry, data in read(buffer.getvalue()):
        assert (data, entry.mtime, entry.uid in (7, 3_000_000)) == (b"abc", 1_700_000_000 * 10**9, True)
        assert entry.name.rstrip("/") in ("short", "long/" * 25 + "name", ("even longer/" * 40).rstrip("/"))


@pytest.mark.parametrize(
    "options", [["--format=gnu"], *(["--format=pax", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))]
)
def test_every_dialect_of_sparse_files_is_read(tmp_path: Path, options: str) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        for at in range(40):
            file.seek(at * 65536)
            file.write(bytes([at + 1]) * 4096)
        file.truncate(4_000_000)
    data = subprocess.run(
        ["tar", "-C", tmp_path, "-cSf", "-", *options, "sparse"], check=True, capture_output=True
    ).stdout
    [(entry, content)] = read(data)
    assert (entry.name, entry.type, entry.size, len(entry.extents or ())) == ("sparse", tar.FILE, 4_000_000, 40)
    whole = bytearray(entry.size)
    for start, length in entry.extents or ():
        whole[start : start + length], content = content[:length], content[length:]
    assert bytes(whole) == (tmp_path / "sparse").read_bytes()


def test_content_that_nobody_wants_is_skipped() -> None:
    data = archive((Entry("a", size=5000), b"x" * 5000), (Entry("b"), b""))
    assert [entry.name for entry in Reader([data])] == ["a", "b"]


def damaged() -> Iterator[bytes]:
    good = archive((Entry("name", size=600), b"x" * 600))
    yield good[:-1600]  # ends within the content
    yield b"X" + good[1:]  # checksum
    yield good[:300]  # ends within the header
    yield tar.pack(Entry("x", b"x", size=20)) + b"99 path=short\n".ljust(512, b"\0")
    yield tar.pack(Entry("x", b"x", size=tar.MAX_SPECIAL + 1))
    yield tar.pack(Entry("x", b"x", size=15)) + b"15 size=-1000\n".ljust(512, b"\0") + good


@pytest.mark.parametrize("data", list(damaged()))
def test_damage_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        read(data)


@settings(max_examples=300)
@given(st.binary(max_size=3000), st.integers(0, 2000))
def test_any_bytes_are_an_archive_or_an_invalid_argument(junk: bytes, at: int) -> None:
    good = archive((Entry("n" * 200, size=600, xattrs={"user.a": b"b"}), b"x" * 600), (Entry("b"), b""))
    try:
        read(good[:at] + junk + good[at + len(junk) :])
    except ContainerdError as error:
        assert isinstance(error, InvalidArgument)
