"""Images: names for descriptors. The shortest of the tables, and the pattern of the others.

A method takes the namespace first, opens one transaction, and answers containerd's own message. Errors are raised
inside the transaction, so that nothing of a refused request stays. Source: containerd@301026e core/metadata/images.go.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from minicontainerd.api import fieldmask, headers, timestamp
from minicontainerd.api.filters import Lookup, fields, parse
from minicontainerd.api.services.images.v1.images_pb2 import Image
from minicontainerd.api.types.descriptor_pb2 import Descriptor
from minicontainerd.errors import AlreadyExists, InvalidArgument, NotFound
from minicontainerd.oci import digest as digests
from minicontainerd.store.database import Database, dump, ensure_namespace, load


class Images:
    """The table ``images``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, namespace: str, name: str) -> Image:
        """One image.

        Raises:
            NotFound: there is none of that name.
        """
        with self._database.read() as tx:
            return _find(tx, namespace, name)

    def list(self, namespace: str, filters: Sequence[str] = ()) -> list[Image]:
        """The images that match any of *filters*, by name.

        Raises:
            InvalidArgument: a filter does not parse.
        """
        wanted = parse(filters)
        with self._database.read() as tx:
            rows = tx.execute("SELECT * FROM images WHERE namespace = ? ORDER BY name", (namespace,)).fetchall()
        images = [_from_row(row) for row in rows]
        return [image for image in images if wanted.match(_lookup(image))]

    def create(self, namespace: str, image: Image) -> Image:
        """Write a new name; answers it with its times.

        Raises:
            AlreadyExists: the name is taken.
            InvalidArgument: name, target or a label cannot be right.
        """
        _validate(image)
        now = timestamp.now()
        with self._database.write() as tx:
            ensure_namespace(tx, namespace)
            try:
                _insert(tx, namespace, image, now, now)
            except sqlite3.IntegrityError:
                raise AlreadyExists(f'image "{image.name}"') from None
            return _find(tx, namespace, image.name)

    def update(self, namespace: str, image: Image, paths: Sequence[str] = ()) -> Image:
        """Change the fields that *paths* name: ``labels``, ``labels.<key>``, ``target``, ``annotations``...

        Raises:
            NotFound: there is none of that name.
            InvalidArgument: a path or a new value cannot be right.
        """
        if not image.name:
            raise InvalidArgument("image name is required for update")
        for path in paths:
            if fieldmask.split(path)[0] not in ("labels", "target", "annotations"):
                raise InvalidArgument(f'cannot update "{path}" field on image "{image.name}"')
        with self._database.write() as tx:
            old = _find(tx, namespace, image.name)
            new = Image(name=old.name, target=image.target if not paths or "target" in paths else old.target)
            new.labels.update(fieldmask.merge(old.labels, image.labels, paths, "labels"))
            if "annotations" in paths or any(path.startswith("annotations.") for path in paths):
                merged = fieldmask.merge(old.target.annotations, image.target.annotations, paths, "annotations")
                new.target.annotations.clear()
                new.target.annotations.update(merged)
            _validate(new)
            tx.execute("DELETE FROM images WHERE namespace = ? AND name = ?", (namespace, image.name))
            _insert(tx, namespace, new, timestamp.from_wire(old.created_at), timestamp.now())
            return _find(tx, namespace, image.name)

    def delete(self, namespace: str, name: str, target: Descriptor | None = None) -> None:
        """Remove a name; where *target* has a digest, only if the name still points to it.

        Raises:
            NotFound: there is none of that name, or it points elsewhere.
        """
        with self._database.write() as tx:
            image = _find(tx, namespace, name)
            if target is not None and target.digest and image.target.digest != target.digest:
                raise NotFound(f'image "{name}" has target {image.target.digest}, not {target.digest}')
            tx.execute("DELETE FROM images WHERE namespace = ? AND name = ?", (namespace, name))


def _find(tx: sqlite3.Connection, namespace: str, name: str) -> Image:
    row = tx.execute("SELECT * FROM images WHERE namespace = ? AND name = ?", (namespace, name)).fetchone()
    if row is None:
        raise NotFound(f'image "{name}"')
    return _from_row(row)


def _insert(tx: sqlite3.Connection, namespace: str, image: Image, created_at: int, updated_at: int) -> None:
    target = image.target
    columns = (target.digest, target.size, target.media_type, dump(target.annotations), dump(image.labels))
    tx.execute(
        "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (namespace, image.name, *columns, created_at, updated_at),
    )


def _from_row(row: sqlite3.Row) -> Image:
    return Image(
        name=row["name"],
        labels=load(row["labels"]),
        target=Descriptor(
            media_type=row["media_type"], digest=row["digest"], size=row["size"], annotations=load(row["annotations"])
        ),
        created_at=timestamp.to_wire(row["created_at"]),
        updated_at=timestamp.to_wire(row["updated_at"]),
    )


def _lookup(image: Image) -> Lookup:
    target = {"digest": image.target.digest, "mediatype": image.target.media_type}
    return fields(name=image.name, target=target, labels=image.labels, annotations=image.target.annotations)


def _validate(image: Image) -> None:
    if not image.name:
        raise InvalidArgument("image name must not be empty")
    try:
        headers.labels(image.labels)
    except InvalidArgument as error:
        raise InvalidArgument(f"image.Labels: {error}") from None
    try:
        digests.validate(image.target.digest)
    except InvalidArgument as error:
        raise InvalidArgument(f'target.Digest "{image.target.digest}" invalid: {error}') from None
    if image.target.size <= 0:
        raise InvalidArgument("target.Size must be greater than zero")
    if not image.target.media_type:
        raise InvalidArgument("target.MediaType must be set")
