"""``minicontainerd check``: is everything there that the database says is there?

First the store is opened as at every start of the daemon, which finishes or clears what a crash left half made. Then
each promise is read back from the disk, and each one that is broken is a :class:`Problem`:

========== ========================================================= ============================================
what       is promised                                               ``--repair`` drops
========== ========================================================= ============================================
database   SQLite finds its own pages sound                          nothing: that takes a backup
blob       its bytes have the digest that it is named by             the file, and the rows that speak of it
content    its blob is there, and as long as the row says            the row
snapshot   the snapshotter knows it, and so on up its parents; its   the row; a leftover of the snapshotter's goes
           folder is there, with as many files as when committed     with the next collection
image      its target and all that this refers to are there          the name
container  its snapshot is there                                     the container
========== ========================================================= ============================================

In that order, so that what hangs on a dropped thing is found broken in turn. No daemon may run meanwhile.
Left out: what a lease keeps, for a lease may name what is not there yet.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minicontainerd.daemon.builtin import Metadata
from minicontainerd.daemon.server import lock
from minicontainerd.errors import InvalidArgument, NotFound
from minicontainerd.oci import digest as digests
from minicontainerd.snapshot.copying import measure
from minicontainerd.snapshot.directories import DirectorySnapshotter
from minicontainerd.snapshot.native import NativeSnapshotter
from minicontainerd.snapshot.overlayfs import OverlaySnapshotter
from minicontainerd.snapshot.records import Record
from minicontainerd.snapshot.snapshotter import Kind, Snapshotter
from minicontainerd.store.blobs import CHUNK, Blobs
from minicontainerd.store.database import Database, load

CONTENT = "containerd.io/gc.ref.content."
MANIFEST = f"{CONTENT}m."
"""The labels by which a blob refers to others, and by which an index refers to manifests."""


@dataclass(frozen=True)
class Problem:
    """A broken promise: about which thing, in which words, and what drops it (None: nothing here can)."""

    thing: str
    told: str
    drop: Callable[[sqlite3.Connection], object] | None = None

    def __str__(self) -> str:
        return f"{self.thing}: {self.told}"


@dataclass
class Report:
    """What was found, what of it was dropped, and how much was looked at."""

    problems: list[Problem]
    dropped: int
    looked_at: dict[str, int]


def check(root: Path, *, repair: bool = False) -> Report:
    """Look at the store below *root*; with *repair*, drop what is broken.

    Raises:
        InvalidArgument: there is no store.
        FailedPrecondition: a daemon is at work with it.
    """
    if not (root / "metadata.db").exists():
        raise InvalidArgument(f"{root}: no store of minicontainerd's (--root says where one is)")
    with lock(root):
        return _check(root, repair)


def _check(root: Path, repair: bool) -> Report:
    backends: dict[str, Snapshotter] = {
        "native": NativeSnapshotter(root / "snapshots" / "native"),
        "overlayfs": OverlaySnapshotter(root / "snapshots" / "overlayfs"),
    }
    metadata = Metadata(Database(root / "metadata.db"), Blobs(root / "content"), backends)
    try:
        return _Check(metadata, repair).run()
    finally:
        metadata.close()
        for backend in backends.values():
            backend.close()


class _Check:
    """One walk through a store."""

    def __init__(self, metadata: Metadata, repair: bool) -> None:
        self.database = metadata.database
        self.blobs = metadata.content.blobs
        self.backends = {name: each.backend for name, each in metadata.snapshotters.items()}
        self.repair = repair
        self.report = Report([], 0, {})

    def run(self) -> Report:
        for part in (self.pages, self.blob_files, self.content, self.snapshots, self.images, self.containers):
            with self.database.write() as tx:  # nobody else changes anything, and all repairs of a part are one
                for problem in list(part(tx)):
                    self.report.problems.append(problem)
                    if self.repair and problem.drop:
                        problem.drop(tx)
                        self.report.dropped += 1
        return self.report

    def rows(self, tx: sqlite3.Connection, name: str, statement: str) -> list[sqlite3.Row]:
        """All rows of a table, counted as *name*."""
        found = tx.execute(statement).fetchall()
        self.report.looked_at[name] = len(found)
        return found

    def pages(self, tx: sqlite3.Connection) -> Iterator[Problem]:
        for row in tx.execute("PRAGMA integrity_check"):
            if row[0] != "ok":
                yield Problem("database", row[0])

    def blob_files(self, tx: sqlite3.Connection) -> Iterator[Problem]:
        found = list(self.blobs.walk())
        self.report.looked_at["blobs"] = len(found)
        for blob in found:
            thing = f"blob {blob.digest}"
            try:
                digest = self._digest_of(blob.digest)
            except InvalidArgument as error:
                yield Problem(thing, f"is no name of a blob: {error}")
                continue
            if digest != blob.digest:
                told = f"its {blob.size} bytes have the digest {digest}"
                yield Problem(thing, told, partial(self._drop_blob, blob.digest))

    def _digest_of(self, digest: str) -> str:
        digests.validate(digest)
        hasher = digests.hasher(digest.partition(":")[0])
        with self.blobs.open(digest) as file:
            while chunk := file.read(CHUNK):
                hasher.update(chunk)
        return f"{hasher.name}:{hasher.hexdigest()}"

    def _drop_blob(self, digest: str, tx: sqlite3.Connection) -> None:
        tx.execute("DELETE FROM content WHERE digest = ?", (digest,))
        self.blobs.delete(digest)

    def content(self, tx: sqlite3.Connection) -> Iterator[Problem]:
        for row in self.rows(tx, "content", "SELECT namespace, digest, size FROM content"):
            try:
                size = self.blobs.info(row["digest"]).size
                told = "" if size == row["size"] else f"{size} bytes, and {row['size']} in its row"
            except NotFound:
                told = "its blob is not there"
            if told:
                yield _problem("content", row, "digest", told)

    def snapshots(self, tx: sqlite3.Connection) -> Iterator[Problem]:
        statement = "SELECT namespace, snapshotter, key, backend_key, parent FROM snapshots"
        rows = self.rows(tx, "snapshots", statement)
        broken = {_id(row): self._snapshot(row) for row in rows}
        above = {_id(row): (*_id(row)[:2], row["parent"]) for row in rows}
        for row in rows:
            id, told = _id(row), broken[_id(row)]
            while not told and (id := above[id])[2]:
                told = f"its parent {id[2]} is broken" if broken.get(id, "gone") else ""
            if told:
                yield _problem("snapshots", row, "key", told, ("snapshotter",))

    def _snapshot(self, row: sqlite3.Row) -> str:
        """What is wrong with one snapshot, its parents apart; empty for nothing."""
        backend = self.backends.get(row["snapshotter"])
        if not isinstance(backend, DirectorySnapshotter):
            return ""  # its files are a plugin's matter
        try:
            record = backend.records.get(row["backend_key"])
        except NotFound:
            return "the snapshotter does not know it"
        return _folder(backend, record)

    def images(self, tx: sqlite3.Connection) -> Iterator[Problem]:
        labels = {(row[0], row[1]): load(row[2]) for row in tx.execute("SELECT namespace, digest, labels FROM content")}
        for row in self.rows(tx, "images", "SELECT namespace, name, digest FROM images"):
            missing = list(_missing(labels, row["namespace"], row["digest"]))
            if missing:
                yield _problem("images", row, "name", f"not there: {', '.join(missing)}")

    def containers(self, tx: sqlite3.Connection) -> Iterator[Problem]:
        known = {_id(row) for row in tx.execute("SELECT namespace, snapshotter, key FROM snapshots")}
        statement = "SELECT namespace, id, snapshotter, snapshot_key FROM containers"
        for row in self.rows(tx, "containers", statement):
            key = (row["namespace"], row["snapshotter"], row["snapshot_key"])
            if row["snapshot_key"] and key not in known:
                yield _problem("containers", row, "id", f"its snapshot {row['snapshot_key']} is not there")


_Labels = dict[tuple[str, str], dict[str, str]]


def _missing(labels: _Labels, namespace: str, digest: str) -> Iterator[str]:
    """The digests that are not there of all that *digest* refers to, itself included.

    Of an index, the manifests of other platforms may never have been fetched. One must have been.
    """
    if (namespace, digest) not in labels:
        yield digest
        return
    refs = {key: value for key, value in labels[namespace, digest].items() if key.startswith(CONTENT)}
    manifests = {value for key, value in refs.items() if key.startswith(MANIFEST)}
    there = {value for value in manifests if (namespace, value) in labels}
    if manifests and not there:
        yield f"any of {', '.join(sorted(manifests))}"
    for child in sorted((set(refs.values()) - manifests) | there):
        yield from _missing(labels, namespace, child)


def _folder(backend: DirectorySnapshotter, record: Record) -> str:
    layer = backend.layer(record.id)
    try:
        inodes = measure(str(layer)).inodes
    except FileNotFoundError:
        return f"its folder {layer} is not there"
    if record.info.kind is Kind.COMMITTED and inodes != record.usage.inodes:
        return f"{inodes} files in {layer}, and {record.usage.inodes} when it was committed"
    return ""


def _id(row: sqlite3.Row) -> tuple[str, str, str]:
    return row["namespace"], row["snapshotter"], row["key"]


def _problem(table: str, row: sqlite3.Row, column: str, told: str, more: tuple[str, ...] = ()) -> Problem:
    """A problem of one row, which is dropped by deleting it."""
    columns = ("namespace", *more, column)
    values = tuple(row[name] for name in columns)
    statement = f"DELETE FROM {table} WHERE {' AND '.join(f'{name} = ?' for name in columns)}"
    thing = f"{table.removesuffix('s')} {row[column]} of namespace {row['namespace']}"
    return Problem(thing, told, lambda tx: tx.execute(statement, values))
