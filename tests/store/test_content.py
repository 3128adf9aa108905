"""Content within namespaces: rows and files agree, whoever comes first."""

import pytest

from minicontainerd.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.oci import digest as digests
from minicontainerd.store.content import Content, NamespacedContent
from minicontainerd.store.database import Database
from minicontainerd.store.leases import Leases

HELLO = digests.of(b"hello")


def put(content: NamespacedContent, data: bytes, **labels: str) -> str:
    with content.writer(f"put {digests.of(data)}") as writer:
        writer.write(data)
        return writer.commit(len(data), digests.of(data), labels)


def test_a_blob_belongs_to_the_namespace_that_wrote_it(content: Content) -> None:
    mine, yours = content.within("mine"), content.within("yours")
    assert put(mine, b"hello", a="1") == HELLO
    assert mine.info(HELLO).labels == {"a": "1"} and mine.read(HELLO) == b"hello"
    for missing in (yours.info, yours.read, yours.delete):
        with pytest.raises(NotFound, match=f"content digest {HELLO}: not found"):
            missing(HELLO)
    with pytest.raises(AlreadyExists):
        mine.writer("r", expected=HELLO)


def test_a_blob_of_another_namespace_is_adopted_without_its_bytes(content: Content) -> None:
    put(content.within("mine"), b"hello")
    yours = content.within("yours")
    with yours.writer("r", expected=HELLO, total=5) as writer:
        assert (writer.offset, writer.digest, writer.status().offset) == (5, HELLO, 5)
        writer.commit(5, HELLO)
    assert yours.read(HELLO) == b"hello"
    assert yours.statuses() == []


def test_writing_into_an_adopted_blob_makes_it_ones_own(content: Content) -> None:
    put(content.within("mine"), b"hello")
    with content.within("yours").writer("r", expected=HELLO) as writer:
        writer.truncate()
        writer.write(b"other")
        with pytest.raises(FailedPrecondition):
            writer.commit(5, HELLO)
        assert writer.commit(5) == digests.of(b"other")


def test_an_announced_size_that_contradicts_the_shared_blob_is_not_believed(content: Content) -> None:
    put(content.within("mine"), b"hello")
    with content.within("yours").writer("r", expected=HELLO, total=6) as writer:
        assert writer.offset == 0


def test_an_ingest_survives_its_writer_and_can_be_aborted(content: Content) -> None:
    mine = content.within("mine")
    with mine.writer("r", total=5) as writer:
        writer.write(b"he")
    assert [(status.ref, status.offset, status.total) for status in mine.statuses()] == [("r", 2, 5)]
    assert content.within("yours").statuses() == []
    mine.abort("r")
    assert mine.statuses() == [] and list(content.blobs.statuses()) == []
    with pytest.raises(NotFound, match="reference r"):
        mine.status("r")


def test_what_is_written_under_a_lease_is_put_under_it(content: Content, database: Database) -> None:
    leases = Leases(database)
    leases.create("n", "l", {})
    leased = content.within("n", "l")
    with leased.writer("r") as writer:
        assert [each.type for each in leases.resources("n", "l")] == ["ingests"]
        writer.write(b"hello")
        writer.commit()
    assert [(each.type, each.id) for each in leases.resources("n", "l")] == [("content", HELLO)]
    leases.create("n", "second", {})
    with pytest.raises(AlreadyExists):
        content.within("n", "second").writer("r", expected=HELLO)
    assert [each.id for each in leases.resources("n", "second")] == [HELLO]
    with pytest.raises(NotFound, match="lease does not exist"):
        content.within("n", "nobody").writer("r2")
    assert list(content.blobs.statuses()) == []


def test_labels_change_by_mask(content: Content) -> None:
    mine = content.within("mine")
    put(mine, b"hello", a="1")
    key = "containerd.io/gc.ref.content.0"
    assert mine.update(HELLO, {key: HELLO}, [f"labels.{key}"]).labels == {"a": "1", key: HELLO}
    assert mine.update_labels(HELLO, {"a": ""}).labels == {key: HELLO}
    assert [info.digest for info in mine.walk([f'labels."{key}"'])] == [HELLO]
    assert list(mine.walk(["size==6"])) == []
    with pytest.raises(InvalidArgument, match="cannot update"):
        mine.update(HELLO, {}, ["size"])
    with pytest.raises(InvalidArgument, match="greater than maximum size"):
        mine.update(HELLO, {"k": "v" * 5000})
    with pytest.raises(InvalidArgument, match="ref must not be empty"):
        mine.writer("")


def test_what_came_while_one_waited_for_the_name_is_found(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = content.within("mine")
    take_turns = mine._blobs.writer

    def late(ref: str, *, total: int = 0) -> object:
        """Another one takes the name first, publishes, and lets go."""
        monkeypatch.undo()
        with mine.writer("r") as faster:
            faster.write(b"hello")
            faster.commit(5, HELLO)
        return take_turns(ref, total=total)

    monkeypatch.setattr(mine._blobs, "writer", late)
    with pytest.raises(AlreadyExists):
        mine.writer("r", expected=HELLO)
    assert mine.statuses() == []
    assert not list((mine._blobs.root / "ingest").iterdir())
