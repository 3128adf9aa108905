"""Does what the daemon has on disk agree with itself? Read from outside, so that a daemon's own opinion counts for
nothing: its databases are opened as files, its folders listed, its blobs hashed."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from ..peers import Ctr

BUNDLES = "io.containerd.runtime.v2.task"


def contradictions(root: Path, state: Path, ctr: Ctr) -> list[str]:
    """Everything below *root* and *state* that is not as the daemon behind *ctr* should have it when it is idle."""
    snapshotter = root / "snapshots/overlayfs"
    return [*_content(root), *_snapshots(root, snapshotter), *_bundles(root, state, ctr)]


def _rows(database: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [tuple(map(str, row)) for row in connection.execute(query)]


def _content(root: Path) -> Iterator[str]:
    blobs = {f"{path.parent.name}:{path.name}": path for path in root.glob("content/blobs/*/*")}
    for digest, path in blobs.items():
        if digest != f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}":
            yield f"blob {digest} has other bytes"
    for digest, size in _rows(root / "metadata.db", "SELECT digest, size FROM content"):
        if digest not in blobs:
            yield f"content {digest} has no blob"
        elif blobs[digest].stat().st_size != int(size):
            yield f"content {digest} should have {size} bytes"
    for folder in root.glob("content/ingest/*"):
        if not (folder / "ref").exists():
            yield f"ingest {folder.name} has no name"


def _snapshots(root: Path, snapshotter: Path) -> Iterator[str]:
    known = dict(_rows(snapshotter / "metadata.db", "SELECT name, id FROM snapshots"))
    named = {name for (name,) in _rows(root / "metadata.db", "SELECT backend_key FROM snapshots")}
    yield from (f"snapshot {name} is not in the snapshotter" for name in named - set(known))
    folders = {path.name for path in (snapshotter / "snapshots").iterdir()}
    yield from (f"snapshot {number} has no folder" for number in set(known.values()) - folders)
    for (key,) in _rows(root / "metadata.db", "SELECT key FROM snapshot_commits"):
        yield f"the commit of {key} was never finished"


def _bundles(root: Path, state: Path, ctr: Ctr) -> Iterator[str]:
    tasks = {line.split()[0] for line in ctr("tasks", "ls").splitlines()[1:]}
    for top in (state, root):
        folders = {path.name for path in (top / BUNDLES).glob("*/*")}
        yield from (f"bundle {name} in {top} has no task" for name in folders - tasks)
        yield from (f"task {name} has no bundle in {top}" for name in tasks - folders)
