"""Snapshots within namespaces: the same snapshotter, seen by each of its users as their own.

A snapshotter (``snapshotter.py``) has one space of names and knows nothing of namespaces, leases or the collector.
Here each name is translated: what a client of namespace ``ns`` calls ``key`` the snapshotter knows as
``ns/<number>/key``, and the table ``snapshots`` of the metadata database has a row for it, with its labels. The number
is new each time, so that a name can be used again while what it meant before is still being removed.

Removing is therefore cheap and safe: the row goes, in one transaction, and the snapshotter is told later, by
:meth:`NamespacedSnapshotter.sweep`, which the collector calls. What a crash left in a snapshotter without a row goes
the same way.

A commit is written down before the snapshotter is asked for it, and finished by the next daemon if need be.

Only labels that start with ``containerd.io/snapshot/``, and ``containerd.io/snapshot.ref``, are passed on below.
Source: containerd@301026e core/metadata/snapshot.go.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from minicontainerd.api import fieldmask, headers, timestamp
from minicontainerd.api.filters import Lookup, fields, parse
from minicontainerd.errors import AlreadyExists, ContainerdError, FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.oci.mount import Mount
from minicontainerd.snapshot.snapshotter import INHERITED, LABEL_REF, Info, Kind, Snapshotter, Usage
from minicontainerd.store.database import Database, Numbers, dump, ensure_namespace, load
from minicontainerd.store.leases import add_to_lease, remove_from_leases


@dataclass(frozen=True)
class _Names:
    """The words for a snapshot on both sides."""

    key: str
    backend: str


_WHERE_KEY = " WHERE namespace = ? AND snapshotter = ? AND key = ?"
_BACKEND_KEYS = """
    SELECT backend_key FROM snapshots WHERE snapshotter = :name
    UNION ALL SELECT backend_key FROM snapshot_commits WHERE snapshotter = :name"""


class NamespacedSnapshotter:
    """All namespaces' snapshots of the snapshotter *name*; :meth:`within` gives the view of one namespace."""

    def __init__(self, database: Database, name: str, backend: Snapshotter) -> None:
        self.database = database
        self.name = name
        self.backend = backend
        self._unfinished: set[str] = set()
        self._lock = threading.Lock()
        self._numbers = Numbers(database)
        self.finish_commits()

    def within(self, namespace: str, lease: str = "") -> NamespaceSnapshots:
        """The snapshots of *namespace*; what is made through it is put under *lease*, if one is named."""
        return NamespaceSnapshots(self, namespace, lease)

    @contextlib.contextmanager
    def making(self, namespace: str, key: str) -> Iterator[str]:
        """A new name for the snapshotter, safe from :meth:`sweep` until its row is written at the end of the block."""
        name = f"{namespace}/{self._numbers.take()}/{key}"
        with self._lock:
            self._unfinished.add(name)
        try:
            yield name
        finally:
            with self._lock:
                self._unfinished.discard(name)

    def sweep(self) -> None:
        """Remove from the snapshotter what no row speaks of, children before parents, and let it clean its disk."""
        self.finish_commits()
        with self._lock:
            unfinished = set(self._unfinished)
        found = {info.name: info for info in self.backend.walk()}
        with self.database.read() as tx:  # after the walk: what was made since then is not in it
            rows = tx.execute(_BACKEND_KEYS, {"name": self.name})
            known = {row[0] for row in rows} | unfinished
        garbage = {name for name in found if name not in known}
        while garbage:
            leaves = garbage - {found[name].parent for name in found}
            if not leaves:
                break  # a parent that is still needed; its child was made since the walk
            for name in leaves:
                with contextlib.suppress(ContainerdError):  # busy now; the next sweep comes
                    self.backend.remove(name)
                del found[name]
            garbage -= leaves
        self.backend.cleanup()

    def finish_commits(self) -> None:
        """Finish the commits for which the snapshotter has done its part, and forget those for which it never will.

        They are those of our own callers, and after a crash or an error those of others (see the table's own words).
        """
        with self._lock:
            unfinished = set(self._unfinished)
        with self.database.write() as tx:
            for row in tx.execute("SELECT * FROM snapshot_commits WHERE snapshotter = ?", (self.name,)).fetchall():
                if row["backend_key"] in unfinished:
                    continue  # at work on it
                lease = row["lease"]
                known = tx.execute("SELECT 1 FROM leases WHERE namespace = ? AND id = ?", (row["namespace"], lease))
                snapshots = self.within(row["namespace"], lease if known.fetchone() else "")
                if self._has(row["backend_key"]):
                    names = _Names(row["name"], row["backend_key"])
                    snapshots.finish_commit(tx, row["key"], names, load(row["labels"]))
                else:
                    snapshots.forget_commit(tx, row["key"])

    def _has(self, name: str) -> bool:
        try:
            self.backend.stat(name)
        except NotFound:
            return False
        return True


class NamespaceSnapshots:
    """What one namespace has in one snapshotter. Methods block; any thread may call them."""

    def __init__(self, snapshotter: NamespacedSnapshotter, namespace: str, lease: str) -> None:
        self._all = snapshotter
        self._database = snapshotter.database
        self._backend = snapshotter.backend
        self.snapshotter = snapshotter.name
        self.namespace = namespace
        self.lease = lease

    def stat(self, key: str) -> Info:
        """What is known of the snapshot *key*.

        Raises:
            NotFound: this namespace has none of that name.
        """
        with self._database.read() as tx:
            row = self._find(tx, key)
        return self._info(row, self._backend.stat(row["backend_key"]))

    def update(self, key: str, labels: Mapping[str, str], paths: Sequence[str] = ()) -> Info:
        """Change labels: those that *paths* name, or all.

        Raises:
            NotFound: this namespace has no such snapshot.
            InvalidArgument: a path is not of a label, or a label is too long.
        """
        for path in paths:
            if fieldmask.split(path)[0] != "labels":
                raise InvalidArgument(f'cannot update "{path}" field on snapshot "{key}"')
        with self._database.write() as tx:
            row = self._find(tx, key)
            merged = _checked(fieldmask.merge(load(row["labels"]), labels, paths, "labels"))
            tx.execute(
                "UPDATE snapshots SET labels = ?, updated_at = ? WHERE namespace = ? AND snapshotter = ? AND key = ?",
                (dump(merged), timestamp.now(), self.namespace, self.snapshotter, key),
            )
            row = self._find(tx, key)
        return self._info(row, self._backend.update(row["backend_key"], _inherited(merged)))

    def usage(self, key: str) -> Usage:
        """What the snapshot takes, without its parents.

        Raises:
            NotFound: this namespace has no such snapshot.
        """
        return self._backend.usage(self._backend_key(key))

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """How to mount an active snapshot or a view.

        Raises:
            NotFound: this namespace has no such snapshot.
            FailedPrecondition: it is committed.
        """
        return self._backend.mounts(self._backend_key(key))

    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] | None = None) -> tuple[Mount, ...]:
        """Make a writable snapshot *key* that starts as *parent*, and say how to mount it.

        Raises:
            AlreadyExists: *key* is in use; or the label ``containerd.io/snapshot.ref`` names a snapshot that exists,
                which then is what was to be made.
            NotFound: *parent* is not there.
        """
        return self._create(key, parent, labels or {}, readonly=False)

    def view(self, key: str, parent: str = "", labels: Mapping[str, str] | None = None) -> tuple[Mount, ...]:
        """Like :meth:`prepare`, but read-only, and not to be committed."""
        return self._create(key, parent, labels or {}, readonly=True)

    def commit(self, name: str, key: str, labels: Mapping[str, str] | None = None) -> None:
        """Turn the active snapshot *key* into the committed snapshot *name*.

        Raises:
            AlreadyExists: *name* is in use. The active snapshot stays.
            NotFound: there is no *key*.
            FailedPrecondition: *key* is a view or committed.
        """
        labels = _checked(labels or {})
        with self._all.making(self.namespace, name) as backend_name:
            with self._database.write() as tx:
                active = self._find(tx, key)
                self._must_be_free(tx, name)
                if tx.execute("SELECT 1 FROM snapshot_commits" + _WHERE_KEY, self._id(key)).fetchone():
                    raise FailedPrecondition(f'snapshot "{key}" is being committed')
                values = (*self._id(key), name, backend_name, self.lease, dump(labels))
                tx.execute("INSERT INTO snapshot_commits VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            try:
                self._backend.commit(backend_name, active["backend_key"], _inherited(labels))
            except ContainerdError:
                with self._database.write() as tx:
                    self.forget_commit(tx, key)
                raise
        self._all.finish_commits()
        if self._backend_key(name) != backend_name:  # another request may have been faster
            raise AlreadyExists(f'snapshot "{name}"')

    def finish_commit(self, tx: sqlite3.Connection, key: str, names: _Names, labels: Mapping[str, str]) -> None:
        """The last step of a commit, when the snapshotter has done its part."""
        active = self._row(tx, key)
        if active is not None and self._row(tx, names.key) is None:  # else the sweep removes what was committed
            self._delete_row(tx, key)
            self._insert_row(tx, names, active["parent"], labels)
        self.forget_commit(tx, key)

    def forget_commit(self, tx: sqlite3.Connection, key: str) -> None:
        """Nothing is to be finished any more."""
        tx.execute("DELETE FROM snapshot_commits" + _WHERE_KEY, self._id(key))

    def _id(self, key: str) -> tuple[str, str, str]:
        return self.namespace, self.snapshotter, key

    def remove(self, key: str) -> None:
        """Forget a snapshot; what it took is freed by the next sweep.

        Raises:
            NotFound: this namespace has no such snapshot.
            FailedPrecondition: another snapshot has it as its parent.
        """
        with self._database.write() as tx:
            self._find(tx, key)
            child = tx.execute(
                "SELECT 1 FROM snapshots WHERE namespace = ? AND snapshotter = ? AND parent = ? LIMIT 1",
                (self.namespace, self.snapshotter, key),
            ).fetchone()
            if child:
                raise FailedPrecondition("cannot remove snapshot with child")
            self._delete_row(tx, key)

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        """The snapshots that match any of *filters*, by key.

        Raises:
            InvalidArgument: a filter does not parse.
        """
        wanted = parse(filters)
        with self._database.read() as tx:
            rows = tx.execute(
                "SELECT * FROM snapshots WHERE namespace = ? AND snapshotter = ? ORDER BY key",
                (self.namespace, self.snapshotter),
            ).fetchall()
        known = {info.name: info for info in self._backend.walk()}
        infos = (self._info(row, known[row["backend_key"]]) for row in rows if row["backend_key"] in known)
        return (info for info in infos if wanted.match(_lookup(info)))

    def _create(self, key: str, parent: str, labels: Mapping[str, str], *, readonly: bool) -> tuple[Mount, ...]:
        if not key:
            raise InvalidArgument("snapshot key must not be empty")
        labels = _checked(labels)
        target = labels.get(LABEL_REF, "")
        if target and self._lease_target(target):
            raise AlreadyExists(f'target snapshot "{target}"')
        with self._database.read() as tx:
            self._must_be_free(tx, key)
            backend_parent = self._parent_key(tx, parent)
        make = self._backend.view if readonly else self._backend.prepare
        with self._all.making(self.namespace, key) as backend_key:
            mounts = make(backend_key, backend_parent, _inherited(labels))
            with self._database.write() as tx:
                self._must_be_free(tx, key)  # another request may have been faster; the sweep removes ours
                self._parent_key(tx, parent)
                self._insert_row(tx, _Names(key, backend_key), parent, labels)
        return mounts

    def _lease_target(self, target: str) -> bool:
        """Whether the snapshot that was to be made in the end is there; then it is kept by the lease."""
        with self._database.write() as tx:
            if self._row(tx, target) is None:
                return False
            add_to_lease(tx, self.namespace, self.lease, f"snapshots/{self.snapshotter}", target)
        return True

    def _parent_key(self, tx: sqlite3.Connection, parent: str) -> str:
        if not parent:
            return ""
        row = self._row(tx, parent)
        if row is None:
            raise NotFound(f"parent snapshot {parent} does not exist")
        key: str = row["backend_key"]
        return key

    def _backend_key(self, key: str) -> str:
        with self._database.read() as tx:
            backend_key: str = self._find(tx, key)["backend_key"]
            return backend_key

    def _must_be_free(self, tx: sqlite3.Connection, key: str) -> None:
        if self._row(tx, key) is not None:
            raise AlreadyExists(f'snapshot "{key}"')

    def _find(self, tx: sqlite3.Connection, key: str) -> sqlite3.Row:
        row = self._row(tx, key)
        if row is None:
            raise NotFound(f"snapshot {key} does not exist")
        return row

    def _row(self, tx: sqlite3.Connection, key: str) -> sqlite3.Row | None:
        found = tx.execute("SELECT * FROM snapshots" + _WHERE_KEY, self._id(key))
        row: sqlite3.Row | None = found.fetchone()
        return row

    def _insert_row(self, tx: sqlite3.Connection, names: _Names, parent: str, labels: Mapping[str, str]) -> None:
        ensure_namespace(tx, self.namespace)
        now = timestamp.now()
        tx.execute(
            "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (self.namespace, self.snapshotter, names.key, names.backend, parent, dump(labels), now, now),
        )
        add_to_lease(tx, self.namespace, self.lease, f"snapshots/{self.snapshotter}", names.key)

    def _delete_row(self, tx: sqlite3.Connection, key: str) -> None:
        tx.execute("DELETE FROM snapshots" + _WHERE_KEY, self._id(key))
        remove_from_leases(tx, self.namespace, f"snapshots/{self.snapshotter}", key)

    def _info(self, row: sqlite3.Row, below: Info) -> Info:
        """What the snapshotter says, in this namespace's words."""
        return replace(
            below,
            name=row["key"],
            parent=row["parent"],
            labels=load(row["labels"]),
            created=_moment(row["created_at"]),
            updated=_moment(row["updated_at"]),
        )


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def _inherited(labels: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key == LABEL_REF or key.startswith(INHERITED)}


def _checked(labels: Mapping[str, str]) -> dict[str, str]:
    try:
        return headers.labels(labels)
    except InvalidArgument as error:
        raise InvalidArgument(f"info.Labels: {error}") from None


def _lookup(info: Info) -> Lookup:
    kinds = {Kind.ACTIVE: "Active", Kind.VIEW: "View", Kind.COMMITTED: "Committed"}
    return fields(name=info.name, parent=info.parent, kind=kinds.get(info.kind, ""), labels=info.labels)
