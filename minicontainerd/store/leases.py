"""Leases: what they keep, the collector leaves alone. Source: containerd@301026e core/metadata/leases.go.

A client that is about to make things, say a pull, first makes a lease and names it in the header of every request.
Whatever such a request creates is put under the lease in the same transaction (:func:`add_to_lease`), so there is no
moment in which it exists and nobody holds it. When the client is done, something permanent refers to the things, and
the lease goes. A client that dies leaves its lease to expire, by the label ``containerd.io/gc.expire``.
"""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import Mapping, Sequence

from minicontainerd.api import headers, timestamp
from minicontainerd.api.filters import Lookup, fields, parse
from minicontainerd.api.services.leases.v1.leases_pb2 import Lease, Resource
from minicontainerd.errors import AlreadyExists, InvalidArgument, NotFound, Unimplemented
from minicontainerd.oci import digest as digests
from minicontainerd.store.database import Database, dump, ensure_namespace, load


class Leases:
    """The tables ``leases`` and ``lease_resources``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, namespace: str, id: str, labels: Mapping[str, str]) -> Lease:
        """A new lease; without an *id* it gets one.

        Raises:
            AlreadyExists: the id is in use.
            InvalidArgument: a label is too long.
        """
        id = id or _make_id()
        checked = headers.labels(labels)
        now = timestamp.now()
        with self._database.write() as tx:
            ensure_namespace(tx, namespace)
            try:
                tx.execute("INSERT INTO leases VALUES (?, ?, ?, ?)", (namespace, id, dump(checked), now))
            except sqlite3.IntegrityError:
                raise AlreadyExists(f'lease "{id}"') from None
        return Lease(id=id, created_at=timestamp.to_wire(now), labels=checked)

    def delete(self, namespace: str, id: str) -> None:
        """End a lease; what it kept stays until it is collected.

        Raises:
            NotFound: there is none of that id.
        """
        with self._database.write() as tx:
            if tx.execute("DELETE FROM leases WHERE namespace = ? AND id = ?", (namespace, id)).rowcount == 0:
                raise NotFound(f'lease "{id}"')

    def add_resource(self, namespace: str, id: str, resource: Resource) -> None:
        """Put a thing under a lease; it need not exist.

        Raises:
            NotFound: there is no such lease.
            InvalidArgument: no such type of thing, or no such name for one.
        """
        _validate(resource)
        with self._database.write() as tx:
            _must_exist(tx, namespace, id)
            add_to_lease(tx, namespace, id, resource.type, resource.id)

    def delete_resource(self, namespace: str, id: str, resource: Resource) -> None:
        """Take a thing out again; nothing happens if it is not there.

        Raises:
            NotFound: there is no such lease.
            InvalidArgument: no such type of thing.
        """
        _validate(resource)
        with self._database.write() as tx:
            _must_exist(tx, namespace, id)
            tx.execute(
                "DELETE FROM lease_resources WHERE namespace = ? AND lease = ? AND type = ? AND id = ?",
                (namespace, id, resource.type, resource.id),
            )

    def resources(self, namespace: str, id: str) -> list[Resource]:
        """What a lease keeps.

        Raises:
            NotFound: there is no such lease.
        """
        with self._database.read() as tx:
            _must_exist(tx, namespace, id)
            rows = tx.execute(
                "SELECT type, id FROM lease_resources WHERE namespace = ? AND lease = ? ORDER BY type, id",
                (namespace, id),
            ).fetchall()
        return [Resource(type=row["type"], id=row["id"]) for row in rows]

    def list(self, namespace: str, filters: Sequence[str] = ()) -> list[Lease]:
        """The leases that match any of *filters*, by id.

        Raises:
            InvalidArgument: a filter does not parse.
        """
        wanted = parse(filters)
        with self._database.read() as tx:
            rows = tx.execute("SELECT * FROM leases WHERE namespace = ? ORDER BY id", (namespace,)).fetchall()
        leases = [
            Lease(id=row["id"], created_at=timestamp.to_wire(row["created_at"]), labels=load(row["labels"]))
            for row in rows
        ]
        return [lease for lease in leases if wanted.match(_lookup(lease))]


def add_to_lease(tx: sqlite3.Connection, namespace: str, lease: str, kind: str, id: str) -> bool:
    """Put a thing under *lease*, in the transaction that makes it; an empty *lease* is none, and answers False.

    Raises:
        NotFound: there is no such lease.
    """
    if not lease:
        return False
    _must_exist(tx, namespace, lease)
    tx.execute("INSERT OR IGNORE INTO lease_resources VALUES (?, ?, ?, ?)", (namespace, lease, kind, id))
    return True


def remove_from_leases(tx: sqlite3.Connection, namespace: str, kind: str, id: str) -> None:
    """Forget a thing that is no more in whatever lease kept it."""
    tx.execute("DELETE FROM lease_resources WHERE namespace = ? AND type = ? AND id = ?", (namespace, kind, id))


def _must_exist(tx: sqlite3.Connection, namespace: str, id: str) -> None:
    if tx.execute("SELECT 1 FROM leases WHERE namespace = ? AND id = ?", (namespace, id)).fetchone() is None:
        raise NotFound("lease does not exist")


def _make_id() -> str:
    return f"{timestamp.now()}-{base64.urlsafe_b64encode(os.urandom(3)).decode()}"


def _lookup(lease: Lease) -> Lookup:
    return fields(id=lease.id, labels=lease.labels)


def _validate(resource: Resource) -> None:
    kind, _, rest = resource.type.partition("/")
    if kind == "content" and not rest:
        try:
            digests.validate(resource.id)
        except InvalidArgument as error:
            raise InvalidArgument(f"invalid content resource id {resource.id}: {error}") from None
    elif kind == "snapshots":
        if not rest or "/" in rest:
            raise InvalidArgument(f"invalid snapshot resource type {resource.type}")
    elif kind in ("content", "ingests"):
        if rest:
            raise InvalidArgument(f"invalid resource type {resource.type}")
    else:
        raise Unimplemented(f"resource type {resource.type} not supported yet")
