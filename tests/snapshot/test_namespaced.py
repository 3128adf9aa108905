"""Snapshots within namespaces: names are each namespace's own, and the sweep frees what no row speaks of."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from minicontainerd.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.snapshot.namespaced import NamespacedSnapshotter
from minicontainerd.snapshot.native import NativeSnapshotter
from minicontainerd.store import gc
from minicontainerd.store.blobs import Blobs
from minicontainerd.store.database import Database
from minicontainerd.store.leases import Leases


@pytest.fixture
def snapshotter(tmp_path: Path) -> Iterator[NamespacedSnapshotter]:
    database = Database(tmp_path / "metadata.db")
    backend = NativeSnapshotter(tmp_path / "native")
    yield NamespacedSnapshotter(database, "native", backend)
    backend.close()
    database.close()


def commit(snapshotter: NamespacedSnapshotter, name: str, parent: str = "", **labels: str) -> None:
    mine = snapshotter.within("mine")
    mine.prepare("key of " + name, parent)
    mine.commit(name, "key of " + name, labels)


def test_names_belong_to_a_namespace(snapshotter: NamespacedSnapshotter) -> None:
    commit(snapshotter, "base")
    mine, yours = snapshotter.within("mine"), snapshotter.within("yours")
    mine.prepare("c", "base", {"l": "1"})
    assert (mine.stat("c").parent, mine.stat("c").labels) == ("base", {"l": "1"})
    with pytest.raises(NotFound, match="snapshot c does not exist"):
        yours.stat("c")
    with pytest.raises(NotFound, match="parent snapshot base does not exist"):
        yours.prepare("c", "base")
    yours.prepare("c")
    assert [info.name for info in mine.walk()] == ["base", "c"]
    assert [info.name for info in mine.walk(["kind==Committed"])] == ["base"]
    with pytest.raises(AlreadyExists, match='snapshot "c"'):
        mine.prepare("c")
    with pytest.raises(InvalidArgument):
        mine.prepare("")


def test_a_removed_name_can_be_used_again_at_once(snapshotter: NamespacedSnapshotter) -> None:
    mine = snapshotter.within("mine")
    mine.prepare("c")
    mine.remove("c")
    with pytest.raises(NotFound):
        mine.mounts("c")
    mine.prepare("c")
    assert len(list(snapshotter.backend.walk())) == 2
    snapshotter.sweep()
    assert len(list(snapshotter.backend.walk())) == 1
    assert mine.mounts("c")


def test_a_parent_stays_while_it_has_children(snapshotter: NamespacedSnapshotter) -> None:
    commit(snapshotter, "base")
    mine = snapshotter.within("mine")
    mine.view("v", "base")
    with pytest.raises(FailedPrecondition, match="cannot remove snapshot with child"):
        mine.remove("base")
    mine.remove("v")
    mine.remove("base")
    snapshotter.sweep()
    assert list(snapshotter.backend.walk()) == []


def test_the_target_that_exists_is_what_was_to_be_made(snapshotter: NamespacedSnapshotter) -> None:
    commit(snapshotter, "base")
    Leases(snapshotter.database).create("mine", "l", {})
    with pytest.raises(AlreadyExists, match='target snapshot "base"'):
        snapshotter.within("mine", "l").prepare("again", "", {"containerd.io/snapshot.ref": "base"})
    assert [each.id for each in Leases(snapshotter.database).resources("mine", "l")] == ["base"]


def test_only_snapshot_labels_go_below(snapshotter: NamespacedSnapshotter) -> None:
    labels = {"containerd.io/gc.root": "now", "containerd.io/snapshot/x": "1"}
    mine = snapshotter.within("mine")
    mine.prepare("c", "", labels)
    assert mine.stat("c").labels == labels
    assert [info.labels for info in snapshotter.backend.walk()] == [{"containerd.io/snapshot/x": "1"}]
    assert mine.update("c", {"a": "1"}, ["labels.a"]).labels == {**labels, "a": "1"}
    with pytest.raises(InvalidArgument, match="cannot update"):
        mine.update("c", {}, ["parent"])


def test_the_collector_frees_chains_leaf_first(snapshotter: NamespacedSnapshotter, tmp_path: Path) -> None:
    commit(snapshotter, "1")
    commit(snapshotter, "2", "1")
    commit(snapshotter, "3", "2")
    commit(snapshotter, "kept", "1", **{gc.ROOT: "yes"})
    gc.collect(snapshotter.database, Blobs(tmp_path / "content"), [snapshotter.sweep])
    assert [info.name for info in snapshotter.within("mine").walk()] == ["1", "kept"]
    assert len(list(snapshotter.backend.walk())) == 2


def test_what_is_being_made_is_not_swept(snapshotter: NamespacedSnapshotter) -> None:
    with snapshotter.making("mine", "c") as name:
        snapshotter.backend.prepare(name)
        snapshotter.sweep()
        assert [info.name for info in snapshotter.backend.walk()] == [name]
    snapshotter.sweep()
    assert list(snapshotter.backend.walk()) == []
