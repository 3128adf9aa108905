"""One contract, every snapshotter: what the manual in snapshot/snapshotter.py promises holds for all of them."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minicontainerd.errors import AlreadyExists, ContainerdError, FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.oci.mount import Mount
from minicontainerd.snapshot.directories import DirectorySnapshotter
from minicontainerd.snapshot.native import NativeSnapshotter
from minicontainerd.snapshot.overlayfs import OverlaySnapshotter
from minicontainerd.snapshot.snapshotter import Kind, Snapshotter
from tests.mounting import mounted

KINDS: list[type[DirectorySnapshotter]] = [NativeSnapshotter, OverlaySnapshotter]
Write = Callable[[Path], object]


@pytest.fixture(params=KINDS, ids=["native", "overlayfs"])
def snapshots(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Snapshotter]:
    snapshotter: Snapshotter = request.param(tmp_path / "root")
    yield snapshotter
    snapshotter.close()


def commit(snapshots: Snapshotter, tmp_path: Path, name: str, parent: str, write: Write) -> None:
    with mounted(snapshots.prepare(f"making {name}", parent), tmp_path / "mnt") as root:
        write(root)
    snapshots.commit(name, f"making {name}")


def names(snapshots: Snapshotter) -> list[tuple[str, Kind]]:
    return [(info.name, info.kind) for info in snapshots.walk()]


def test_a_child_starts_as_its_parent_and_changes_only_itself(snapshots: Snapshotter, tmp_path: Path) -> None:
    commit(snapshots, tmp_path, "one", "", lambda root: (root / "a").write_text("1"))
    commit(snapshots, tmp_path, "two", "one", lambda root: (root / "a").rename(root / "b"))
    with mounted(snapshots.prepare("top", "two"), tmp_path / "mnt") as root:
        assert os.listdir(root) == ["b"]
        (root / "b").write_text("changed")
    with mounted(snapshots.view("look one", "one"), tmp_path / "mnt") as root:
        assert (root / "a").read_text() == "1"
    with mounted(snapshots.view("look two", "two"), tmp_path / "mnt") as root:
        assert (root / "b").read_text() == "1"


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_a_view_cannot_be_written(snapshots: Snapshotter, tmp_path: Path, layers: int) -> None:
    parents = ["", "1", "2"][: layers + 1]
    for below, name in itertools.pairwise(parents):
        commit(snapshots, tmp_path, name, below, lambda root: (root / f"file {len(os.listdir(root))}").touch())
    with mounted(snapshots.view("view", parents[-1]), tmp_path / "mnt") as root:
        assert len(os.listdir(root)) == layers
        with pytest.raises(OSError, match="Read-only"):
            (root / "new").touch()


def test_mounts_are_those_of_prepare(snapshots: Snapshotter, tmp_path: Path) -> None:
    commit(snapshots, tmp_path, "one", "", lambda root: None)
    for key, made in (("k", snapshots.prepare("k", "one")), ("v", snapshots.view("v", "one"))):
        assert snapshots.mounts(key) == made


def test_stat_tells_what_was_made(snapshots: Snapshotter, tmp_path: Path) -> None:
    commit(snapshots, tmp_path, "one", "", lambda root: None)
    snapshots.prepare("key", "one", {"a": "1", "empty": ""})
    info = snapshots.stat("key")
    assert (info.name, info.parent, info.kind, info.labels) == ("key", "one", Kind.ACTIVE, {"a": "1"})
    assert info.created == info.updated
    assert names(snapshots) == [("key", Kind.ACTIVE), ("one", Kind.COMMITTED)]


def test_commit_moves_the_key_and_replaces_the_labels(snapshots: Snapshotter) -> None:
    snapshots.prepare("key", "", {"old": "1"})
    snapshots.commit("name", "key", {"new": "2"})
    assert snapshots.stat("name").labels == {"new": "2"}
    with pytest.raises(NotFound, match="snapshot does not exist: not found"):
        snapshots.stat("key")


def test_labels_are_updated_by_fields(snapshots: Snapshotter) -> None:
    snapshots.prepare("key", "", {"a": "1", "b": "2"})
    before = snapshots.stat("key")
    info = snapshots.update("key", {"a": "9", "c": "3"}, ("labels.a", "labels.b"))
    assert info.labels == {"a": "9"}
    assert info.created == before.created
    assert info.updated > before.updated
    assert snapshots.update("key", {"d": "4"}).labels == snapshots.stat("key").labels == {"d": "4"}
    with pytest.raises(InvalidArgument, match='cannot update "parent" field on snapshot "key"'):
        snapshots.update("key", {}, ("parent",))
    assert snapshots.stat("key").labels == {"d": "4"}


def test_usage_is_measured_while_active_and_kept_once_committed(snapshots: Snapshotter, tmp_path: Path) -> None:
    mounts = snapshots.prepare("key")
    empty = snapshots.usage("key")
    assert empty.inodes == 1
    with mounted(mounts, tmp_path / "mnt") as root:
        (root / "file").write_bytes(b"x" * 10_000)
        os.link(root / "file", root / "again")
    used = snapshots.usage("key")
    assert used.inodes == 2
    assert 10_000 <= used.size - empty.size < 20_000
    snapshots.commit("name", "key")
    assert snapshots.usage("name") == used


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda s: s.stat("x"), NotFound, "snapshot does not exist"),
        (lambda s: s.usage("x"), NotFound, "snapshot does not exist"),
        (lambda s: s.update("x", {}), NotFound, "snapshot does not exist"),
        (lambda s: s.mounts("x"), NotFound, "snapshot does not exist"),
        (lambda s: s.mounts("one"), FailedPrecondition, "requested snapshot one not active or view"),
        (lambda s: s.prepare("key"), AlreadyExists, "snapshot key: already exists"),
        (lambda s: s.view("one"), AlreadyExists, "snapshot one: already exists"),
        (lambda s: s.prepare("new", "x"), NotFound, 'missing parent "x" bucket'),
        (lambda s: s.prepare("new", "key"), InvalidArgument, 'parent "key" is not committed snapshot'),
        (lambda s: s.commit("one", "key"), AlreadyExists, "committed snapshot one: already exists"),
        (lambda s: s.commit("two", "x"), NotFound, "snapshot does not exist"),
        (lambda s: s.commit("two", "one"), FailedPrecondition, 'snapshot "one" is not active'),
        (lambda s: s.commit("two", "view"), FailedPrecondition, 'snapshot "view" is not active'),
        (lambda s: s.remove("x"), NotFound, "snapshot x: not found"),
        (lambda s: s.remove("one"), FailedPrecondition, "cannot remove snapshot with child"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    snapshots: Snapshotter,
    tmp_path: Path,
    act: Callable[[Snapshotter], object],
    error: type[ContainerdError],
    words: str,
) -> None:
    commit(snapshots, tmp_path, "one", "", lambda root: None)
    snapshots.prepare("key", "one")
    snapshots.view("view", "one")
    before = names(snapshots), directories(tmp_path)
    with pytest.raises(error, match=words):
        act(snapshots)
    assert (names(snapshots), directories(tmp_path)) == before


def directories(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "root/snapshots"))


def test_removed_snapshots_leave_nothing(snapshots: Snapshotter, tmp_path: Path) -> None:
    commit(snapshots, tmp_path, "one", "", lambda root: (root / "a/b").mkdir(parents=True))
    snapshots.prepare("key", "one")
    snapshots.remove("key")
    snapshots.remove("one")
    assert directories(tmp_path) == []
    snapshots.prepare("key")  # the key is free again
    assert directories(tmp_path) != ["1"]  # its number is not


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_finds_all_and_clears_what_a_crash_left(
    kind: type[DirectorySnapshotter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kind(tmp_path / "root")
    before.prepare("key")
    before.commit("one", "key", {"a": "b"})
    (tmp_path / "root/snapshots/new-half/fs").mkdir(parents=True)
    (tmp_path / "root/snapshots/99").mkdir()

    def crash(self: object, path: Path, record: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kind, "fill", crash)
        with pytest.raises(KeyboardInterrupt):
            before.prepare("never")
    after = kind(tmp_path / "root")
    assert names(after) == [("one", Kind.COMMITTED)]
    assert directories(tmp_path) == ["1"]
    assert after.stat("one").labels == {"a": "b"}
    after.close()
    before.close()


def test_threads_that_want_one_key_get_it_once(snapshots: Snapshotter, tmp_path: Path) -> None:
    outcomes: list[str] = []

    def prepare() -> None:
        try:
            snapshots.prepare("key")
            outcomes.append("made")
        except AlreadyExists:
            outcomes.append("exists")

    threads = [threading.Thread(target=prepare) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["exists"] * 7 + ["made"]
    assert len(directories(tmp_path)) == 1


def test_overlay_mounts_have_containerds_shapes(tmp_path: Path) -> None:
    snapshots = OverlaySnapshotter(tmp_path / "root", options=("index=on", "metacopy=on"))
    fs = [f"{tmp_path}/root/snapshots/{number}/fs" for number in range(8)]
    work = f"{tmp_path}/root/snapshots/{{}}/work"
    assert snapshots.prepare("k1") == (Mount("bind", fs[1], "", ("rw", "rbind")),)
    snapshots.commit("one", "k1")
    assert snapshots.view("v0") == (Mount("bind", fs[2], "", ("ro", "rbind")),)
    assert snapshots.view("v1", "one") == (Mount("bind", fs[1], "", ("ro", "rbind")),)
    own = f"workdir={work.format(4)}", f"upperdir={fs[4]}", f"lowerdir={fs[1]}"
    assert snapshots.prepare("k2", "one") == (Mount("overlay", "overlay", "", (*own, "index=on", "metacopy=on")),)
    snapshots.commit("two", "k2")
    lower = f"lowerdir={fs[4]}:{fs[1]}"
    assert snapshots.view("v2", "two") == (Mount("overlay", "overlay", "", (lower, "index=on", "metacopy=on")),)
    snapshots.close()


def test_native_mounts_have_containerds_shapes(tmp_path: Path) -> None:
    snapshots = NativeSnapshotter(tmp_path / "root")
    assert snapshots.prepare("k") == (Mount("bind", f"{tmp_path}/root/snapshots/1", "", ("rbind", "rw")),)
    snapshots.commit("one", "k")
    assert snapshots.view("v", "one") == (Mount("bind", f"{tmp_path}/root/snapshots/1", "", ("rbind", "ro")),)
    snapshots.close()
