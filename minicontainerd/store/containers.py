"""Container records: what is needed to start a task. Source: containerd@301026e core/metadata/containers.go."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from google.protobuf.any_pb2 import Any

from minicontainerd.api import fieldmask, headers, timestamp
from minicontainerd.api.filters import Lookup, fields, parse
from minicontainerd.api.services.containers.v1.containers_pb2 import Container
from minicontainerd.errors import AlreadyExists, InvalidArgument, NotFound
from minicontainerd.store.database import Database, dump, ensure_namespace, load

MUTABLE = ("labels", "spec", "extensions", "image", "snapshotkey")
"""What an update may name; with no mask, all of these are replaced."""


class Containers:
    """The table ``containers``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, namespace: str, id: str) -> Container:
        """One record.

        Raises:
            NotFound: there is none of that id.
        """
        with self._database.read() as tx:
            return _find(tx, namespace, id)

    def list(self, namespace: str, filters: Sequence[str] = ()) -> list[Container]:
        """The records that match any of *filters*, by id.

        Raises:
            InvalidArgument: a filter does not parse.
        """
        wanted = parse(filters)
        with self._database.read() as tx:
            rows = tx.execute("SELECT * FROM containers WHERE namespace = ? ORDER BY id", (namespace,)).fetchall()
        containers = [_from_row(row) for row in rows]
        return [container for container in containers if wanted.match(_lookup(container))]

    def create(self, namespace: str, container: Container) -> Container:
        """Write a new record; answers it with its times.

        Raises:
            AlreadyExists: the id is in use.
            InvalidArgument: the id is no identifier, or something needed is missing.
        """
        try:
            _validate(container)
        except InvalidArgument as error:
            raise InvalidArgument(f"create container failed validation: {error}") from None
        now = timestamp.now()
        with self._database.write() as tx:
            ensure_namespace(tx, namespace)
            try:
                _insert(tx, namespace, container, now, now)
            except sqlite3.IntegrityError:
                raise AlreadyExists(f'container "{container.id}"') from None
            return _find(tx, namespace, container.id)

    def update(self, namespace: str, container: Container, paths: Sequence[str] = ()) -> Container:
        """Change the fields that *paths* name, see :data:`MUTABLE`; ``labels.<key>`` and ``extensions.<key>`` too.

        Raises:
            NotFound: there is none of that id.
            InvalidArgument: a path or a new value cannot be right.
        """
        if not container.id:
            raise InvalidArgument("must specify a container id")
        with self._database.write() as tx:
            old = _find(tx, namespace, container.id)
            if not paths:
                _refuse_immutable(old, container)
            new = Container()
            new.CopyFrom(old)
            for path in paths or MUTABLE:
                _apply(new, container, path)
            try:
                _validate(new)
            except InvalidArgument as error:
                raise InvalidArgument(f"update failed validation: {error}") from None
            tx.execute("DELETE FROM containers WHERE namespace = ? AND id = ?", (namespace, container.id))
            _insert(tx, namespace, new, timestamp.from_wire(old.created_at), timestamp.now())
            return _find(tx, namespace, container.id)

    def delete(self, namespace: str, id: str) -> None:
        """Remove a record.

        Raises:
            NotFound: there is none of that id.
        """
        with self._database.write() as tx:
            if tx.execute("DELETE FROM containers WHERE namespace = ? AND id = ?", (namespace, id)).rowcount == 0:
                raise NotFound(f'container "{id}" in namespace "{namespace}"')


def _refuse_immutable(old: Container, new: Container) -> None:
    if new.snapshotter != old.snapshotter:
        raise InvalidArgument("container.Snapshotter field is immutable")
    if new.runtime.name != old.runtime.name:
        raise InvalidArgument("container.Runtime.Name field is immutable")


def _apply(container: Container, wanted: Container, path: str) -> None:
    """Bring the field *path* of *container* to what *wanted* has."""
    field, key = fieldmask.split(path)
    if field == "labels":
        merged = fieldmask.merge(container.labels, wanted.labels, [path], "labels")
        container.labels.clear()
        container.labels.update(merged)
    elif field == "extensions":
        for name in [key] if key else {*container.extensions, *wanted.extensions}:
            container.extensions.pop(name, None)
            if name in wanted.extensions:
                container.extensions[name].CopyFrom(wanted.extensions[name])
    elif path == "spec":
        container.spec.CopyFrom(wanted.spec)
    elif path == "image":
        container.image = wanted.image
    elif path == "snapshotkey":
        container.snapshot_key = wanted.snapshot_key
    else:
        raise InvalidArgument(f'cannot update "{path}" field on "{container.id}"')


def _find(tx: sqlite3.Connection, namespace: str, id: str) -> Container:
    row = tx.execute("SELECT * FROM containers WHERE namespace = ? AND id = ?", (namespace, id)).fetchone()
    if row is None:
        raise NotFound(f'container "{id}" in namespace "{namespace}"')
    return _from_row(row)


def _insert(tx: sqlite3.Connection, namespace: str, container: Container, created_at: int, updated_at: int) -> None:
    extensions = Container()
    for key in container.extensions:
        extensions.extensions[key].CopyFrom(container.extensions[key])
    runtime = container.runtime
    options = runtime.options.SerializeToString() if runtime.HasField("options") else b""
    columns = (
        container.image,
        runtime.name,
        options,
        container.spec.SerializeToString(),
        container.snapshotter,
        container.snapshot_key,
        container.sandbox,
        extensions.SerializeToString(),
        dump(container.labels),
    )
    tx.execute(
        "INSERT INTO containers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (namespace, container.id, *columns, created_at, updated_at),
    )


def _from_row(row: sqlite3.Row) -> Container:
    container = Container.FromString(row["extensions"])
    container.id = row["id"]
    container.image = row["image"]
    container.runtime.name = row["runtime_name"]
    if row["options"]:
        container.runtime.options.CopyFrom(Any.FromString(row["options"]))
    container.spec.CopyFrom(Any.FromString(row["spec"]))
    container.snapshotter = row["snapshotter"]
    container.snapshot_key = row["snapshot_key"]
    container.sandbox = row["sandbox"]
    container.labels.update(load(row["labels"]))
    container.created_at.CopyFrom(timestamp.to_wire(row["created_at"]))
    container.updated_at.CopyFrom(timestamp.to_wire(row["updated_at"]))
    return container


def _lookup(container: Container) -> Lookup:
    runtime = {"name": container.runtime.name}
    return fields(id=container.id, runtime=runtime, image=container.image, labels=container.labels)


def _validate(container: Container) -> None:
    try:
        headers.identifier(container.id)
    except InvalidArgument as error:
        raise InvalidArgument(f"container.ID: {error}") from None
    if any(not key for key in container.extensions):
        raise InvalidArgument("container.Extension keys must not be zero-length")
    try:
        headers.labels(container.labels)
    except InvalidArgument as error:
        raise InvalidArgument(f"containers.Labels: {error}") from None
    if not container.runtime.name:
        raise InvalidArgument("container.Runtime.Name must be set")
    if container.snapshot_key and not container.snapshotter:
        raise InvalidArgument("container.Snapshotter must be set if container.SnapshotKey is set")
