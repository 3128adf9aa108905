"""``minicontainerd check``: each kind of damage is found, told, and dropped; a sound store is left alone."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from minicontainerd.api.services.containers.v1.containers_pb2 import Container
from minicontainerd.api.services.images.v1.images_pb2 import Image
from minicontainerd.api.types.descriptor_pb2 import Descriptor
from minicontainerd.daemon.check import check
from minicontainerd.daemon.main import command
from minicontainerd.daemon.server import lock
from minicontainerd.errors import FailedPrecondition, InvalidArgument
from minicontainerd.oci import digest as digests
from minicontainerd.snapshot.namespaced import NamespacedSnapshotter
from minicontainerd.snapshot.native import NativeSnapshotter
from minicontainerd.store.blobs import Blobs
from minicontainerd.store.containers import Containers
from minicontainerd.store.content import Content
from minicontainerd.store.database import Database
from minicontainerd.store.images import Images

CONFIG, LAYER, MANIFEST, INDEX = b"config", b"layer", b"manifest", b"index"
REF = "containerd.io/gc.ref.content."


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with one image of one platform, pulled from an index of two, and a container of it."""
    database = Database(tmp_path / "metadata.db")
    content = Content(database, Blobs(tmp_path / "content")).within("n")
    refs = {
        CONFIG: {},
        LAYER: {},
        MANIFEST: {f"{REF}config": digests.of(CONFIG), f"{REF}l.0": digests.of(LAYER)},
        INDEX: {f"{REF}m.0": digests.of(MANIFEST), f"{REF}m.1": digests.of(b"never fetched")},
    }
    for data, labels in refs.items():
        with content.writer(repr(data)) as writer:
            writer.write(data)
            writer.commit(0, "", labels)
    target = Descriptor(digest=digests.of(INDEX), size=len(INDEX), media_type="m")
    Images(database).create("n", Image(name="image", target=target))
    backend = NativeSnapshotter(tmp_path / "snapshots" / "native")
    snapshots = NamespacedSnapshotter(database, "native", backend).within("n")
    [mount] = snapshots.prepare("unpacking", "")
    Path(mount.source, "file").write_text("data")
    snapshots.commit("layer", "unpacking")
    snapshots.prepare("c", "layer")
    container = Container(id="c", snapshotter="native", snapshot_key="c")
    container.runtime.name = "r"
    Containers(database).create("n", container)
    backend.close()
    database.close()
    return tmp_path


def blob(root: Path, data: bytes) -> Path:
    return Blobs(root / "content").path(digests.of(data))


def spoil_blob(root: Path) -> None:
    path = blob(root, LAYER)
    path.chmod(0o644)
    path.write_bytes(b"wrong")


def lose_blob(root: Path) -> None:
    blob(root, CONFIG).unlink()


def shorten_blob(root: Path) -> None:
    path = blob(root, MANIFEST)
    path.chmod(0o644)
    os.truncate(path, 0)


def lose_row(root: Path) -> None:
    with sqlite3.connect(root / "metadata.db") as database:
        database.execute("DELETE FROM content WHERE digest = ?", (digests.of(MANIFEST),))
    database.close()


def lose_file(root: Path) -> None:
    (root / "snapshots/native/snapshots/1/file").unlink()


def lose_folder(root: Path) -> None:
    (root / "snapshots/native/snapshots/2").rename(root / "elsewhere")


def forget_snapshot(root: Path) -> None:
    with sqlite3.connect(root / "snapshots/native/metadata.db") as database:
        database.execute("DELETE FROM snapshots WHERE id = 2")
    database.close()


def things(root: Path, *, repair: bool = False) -> list[str]:
    return [problem.thing.split()[0] for problem in check(root, repair=repair).problems]


def test_a_sound_store_has_no_problem_and_says_what_was_looked_at(root: Path) -> None:
    report = check(root, repair=True)
    assert (report.problems, report.dropped) == ([], 0)
    assert report.looked_at == {"blobs": 4, "content": 4, "snapshots": 2, "images": 1, "containers": 1}


@pytest.mark.parametrize(
    ("damage", "found", "dropped"),
    [
        (spoil_blob, ["blob"], ["blob", "image"]),
        (lose_blob, ["content"], ["content", "image"]),
        (shorten_blob, ["blob", "content"], ["blob", "image"]),
        (lose_row, ["image"], ["image"]),
        (lose_file, ["snapshot", "snapshot"], ["snapshot", "snapshot", "container"]),
        (lose_folder, ["snapshot"], ["snapshot", "container"]),
        (forget_snapshot, ["snapshot"], ["snapshot", "container"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damage_is_found_and_dropped_with_what_hangs_on_it(
    root: Path, damage: object, found: list[str], dropped: list[str]
) -> None:
    assert callable(damage)
    damage(root)
    assert things(root) == found  # and nothing was changed
    assert things(root) == found
    assert things(root, repair=True) == dropped
    assert things(root) == []


def test_the_command_says_what_is_wrong_and_ends_with_1_until_it_is_not(root: Path) -> None:
    lose_blob(root)
    (root / "none.toml").touch()
    arguments = ["--config", str(root / "none.toml"), "--root", str(root), "check"]
    told = CliRunner().invoke(command, arguments)
    assert told.exit_code == 1
    assert told.output.startswith(f"content {digests.of(CONFIG)} of namespace n: its blob is not there\n1 problems, 0")
    repaired = CliRunner().invoke(command, [*arguments, "--repair"])
    assert (repaired.exit_code, repaired.output.count("dropped: ")) == (0, 2)
    assert CliRunner().invoke(command, arguments).exit_code == 0


def test_while_a_daemon_runs_it_refuses(root: Path) -> None:
    with lock(root), pytest.raises(FailedPrecondition, match="in use by another daemon"):
        check(root)


def test_where_no_store_is_it_says_so_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="no store"):
        check(tmp_path)
    assert list(tmp_path.iterdir()) == []
