"""Namespaces: who a name belongs to. Source: containerd@301026e core/metadata/namespaces.go."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from minicontainerd.api import fieldmask, headers
from minicontainerd.api.services.namespaces.v1.namespace_pb2 import Namespace
from minicontainerd.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.store.database import Database, dump, load


class Namespaces:
    """The table ``namespaces``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> Namespace:
        """The labels of one; a namespace that nobody made has none, and is no error."""
        with self._database.read() as tx:
            return Namespace(name=name, labels=_labels(tx, name) or {})

    def list(self) -> list[Namespace]:
        """All of them, by name."""
        with self._database.read() as tx:
            rows = tx.execute("SELECT name, labels FROM namespaces ORDER BY name").fetchall()
        return [Namespace(name=row["name"], labels=load(row["labels"])) for row in rows]

    def create(self, name: str, labels: Mapping[str, str]) -> Namespace:
        """Make one.

        Raises:
            AlreadyExists: it is there.
            InvalidArgument: the name is no identifier, or a label is too long.
        """
        headers.identifier(name)
        checked = _checked(labels)
        with self._database.write() as tx:
            try:
                tx.execute("INSERT INTO namespaces VALUES (?, ?)", (name, dump(checked)))
            except sqlite3.IntegrityError:
                raise AlreadyExists(f'namespace "{name}"') from None
        return Namespace(name=name, labels=checked)

    def update(self, name: str, labels: Mapping[str, str], paths: Sequence[str] = ()) -> Namespace:
        """Change the labels that *paths* name; makes the namespace where it is missing.

        Without a mask labels are added and replaced, and an empty value removes one; the others stay.

        Raises:
            InvalidArgument: a path is none of ``labels`` and ``labels.<key>``.
        """
        headers.identifier(name)
        for path in paths:
            if fieldmask.split(path)[0] != "labels":
                raise InvalidArgument(f'cannot update "{path}" field')
        with self._database.write() as tx:
            paths = list(paths) or [f"labels.{key}" for key in labels]
            merged = fieldmask.merge(_labels(tx, name) or {}, _checked(labels), paths, "labels") if paths else {}
            tx.execute("INSERT OR REPLACE INTO namespaces VALUES (?, ?)", (name, dump(merged)))
        return Namespace(name=name, labels=merged)

    def delete(self, name: str) -> None:
        """Remove one that is empty.

        Raises:
            FailedPrecondition: something is in it; the message says what kinds of thing.
            NotFound: it is not there.
        """
        with self._database.write() as tx:
            left = _kinds_left(tx, name)
            if left:
                raise FailedPrecondition(f'namespace "{name}" must be empty, but it still has {", ".join(left)}')
            if tx.execute("DELETE FROM namespaces WHERE name = ?", (name,)).rowcount == 0:
                raise NotFound(f'namespace "{name}"')
            tx.execute("DELETE FROM ingests WHERE namespace = ?", (name,))
            tx.execute("DELETE FROM leases WHERE namespace = ?", (name,))


def _labels(tx: sqlite3.Connection, name: str) -> dict[str, str] | None:
    row = tx.execute("SELECT labels FROM namespaces WHERE name = ?", (name,)).fetchone()
    return None if row is None else load(row["labels"])


def _checked(labels: Mapping[str, str]) -> dict[str, str]:
    try:
        return headers.labels(labels)
    except InvalidArgument as error:
        raise InvalidArgument(f"namespace.Labels: {error}") from None


def _kinds_left(tx: sqlite3.Connection, name: str) -> list[str]:
    left = []
    for table, words in (("images", "images"), ("content", "blobs"), ("containers", "containers")):
        if tx.execute(f"SELECT 1 FROM {table} WHERE namespace = ? LIMIT 1", (name,)).fetchone():
            left.append(words)
    snapshotters = tx.execute(
        "SELECT DISTINCT snapshotter FROM snapshots WHERE namespace = ? ORDER BY snapshotter", (name,)
    )
    return left + [f'snapshots on "{row[0]}" snapshotter' for row in snapshotters]
