"""Ingests become blobs whole or not at all."""

import stat
from pathlib import Path

import pytest

from minicontainerd.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from minicontainerd.oci import digest as digests
from minicontainerd.store.blobs import Blobs

HELLO = digests.of(b"hello")


def test_a_blob_is_published_read_only(blobs: Blobs) -> None:
    with blobs.writer("r", total=5) as writer:
        writer.write(b"hel")
        writer.write(b"lo")
        assert writer.digest == HELLO
        assert writer.commit(5, HELLO) == HELLO
    assert stat.S_IMODE(blobs.path(HELLO).stat().st_mode) == 0o444
    assert [info.digest for info in blobs.walk()] == [HELLO]
    assert list(blobs.statuses()) == []
    with blobs.open(HELLO) as file:
        assert file.read() == b"hello"


def test_an_ingest_is_resumed_where_it_stopped(blobs: Blobs) -> None:
    with blobs.writer("r", total=5) as writer:
        writer.write(b"hel")
    assert blobs.status("r").offset == 3
    with blobs.writer("r") as writer:
        assert (writer.offset, writer.total, writer.digest) == (3, 5, digests.of(b"hel"))
        writer.write(b"lo")
        writer.commit(5, HELLO)


def test_one_writer_a_name(blobs: Blobs) -> None:
    with blobs.writer("r"), pytest.raises(Unavailable, match="ref r locked for"):
        blobs.writer("r")
    blobs.writer("r").close()


@pytest.mark.parametrize(("size", "expected"), [(4, ""), (0, digests.of(b"other"))])
def test_what_does_not_match_is_not_published(blobs: Blobs, size: int, expected: str) -> None:
    with blobs.writer("r") as writer:
        writer.write(b"hello")
        with pytest.raises(FailedPrecondition, match="unexpected commit"):
            writer.commit(size, expected)
    assert list(blobs.walk()) == []
    assert blobs.status("r").offset == 5


def test_truncating_starts_anew(blobs: Blobs) -> None:
    with blobs.writer("r") as writer:
        writer.write(b"wrong")
        with pytest.raises(FailedPrecondition):
            writer.truncate(2)
        writer.truncate()
        writer.write(b"hello")
        assert writer.commit() == HELLO


def test_sha512_is_checked_too(blobs: Blobs) -> None:
    hasher = digests.hasher("sha512:")
    hasher.update(b"hello")
    expected = f"sha512:{hasher.hexdigest()}"
    with blobs.writer("r") as writer:
        writer.write(b"hello")
        assert writer.commit(5, expected) == expected
    assert blobs.info(expected).size == 5


def test_the_same_bytes_twice(blobs: Blobs) -> None:
    for ref in ("a", "b"):
        with blobs.writer(ref) as writer:
            writer.write(b"hello")
            if ref == "a":
                writer.commit()
            else:
                with pytest.raises(AlreadyExists):
                    writer.commit()
    assert list(blobs.statuses()) == []


def test_aborting(blobs: Blobs) -> None:
    blobs.writer("r").close()
    blobs.abort("r")
    for missing in (blobs.abort, blobs.status):
        with pytest.raises(NotFound):
            missing("r")


@pytest.mark.parametrize("digest", ["", "sha256:..", "sha256:../../x", "md5:" + "a" * 32, "sha256:" + "A" * 64])
def test_a_name_that_is_no_digest_never_becomes_a_path(blobs: Blobs, digest: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        blobs.path(digest)


def test_a_commit_that_a_crash_cut_short_does_not_block_its_name(blobs: Blobs) -> None:
    blobs.writer("r", total=5).close()
    [folder] = (blobs.root / "ingest").iterdir()
    (folder / "data").unlink()  # renamed into place; the folder was to be removed next
    with blobs.writer("r", total=6) as writer:
        assert (writer.offset, writer.digest) == (0, digests.of(b""))


@pytest.mark.parametrize("name", ["ref", "total"])
def test_an_ingest_whose_files_a_power_cut_left_empty_is_no_ingest(blobs: Blobs, name: str) -> None:
    with blobs.writer("r", total=5) as writer:
        writer.write(b"hel")
    [folder] = (blobs.root / "ingest").iterdir()
    (folder / name).write_bytes(b"")
    again = Blobs(blobs.root)
    assert list(again.statuses()) == [] and not folder.exists()
    with again.writer("r", total=5) as writer:
        assert writer.offset == 0
