"""Content: blobs as a namespace sees them, with labels and times.

Here the two halves of the store meet. A blob's bytes are in ``blobs``, once; that a namespace *has* it is a row.
Writing is a conversation with an ingest::

    writer(ref, expected, total) ─▶ write … write ─▶ commit(size, digest, labels)

and every end of it is defined. Closed without commit: the ingest stays, and the next writer goes on. Committed: the
bytes are synced, renamed, and then the row is written, all while no collector looks. A digest that *another*
namespace already has is adopted: the writer starts out complete, and commit writes only the row.

Source: containerd@301026e core/metadata/content.go.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from minicontainerd.api import fieldmask, headers, timestamp
from minicontainerd.api.filters import Lookup, fields, parse
from minicontainerd.api.services.content.v1.content_pb2 import Info, Status
from minicontainerd.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.oci import digest as digests
from minicontainerd.store import blobs as files
from minicontainerd.store.blobs import Blobs
from minicontainerd.store.database import Database, dump, ensure_namespace, load
from minicontainerd.store.leases import add_to_lease, remove_from_leases

INGEST_LIFETIME = 24 * 3600 * 1_000_000_000
"""How long an ingest that no lease keeps may stand still, in nanoseconds."""


class Content:
    """All content; :meth:`within` gives the view of one namespace."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self.database = database
        self.blobs = blobs

    def within(self, namespace: str, lease: str = "") -> NamespacedContent:
        """The content of *namespace*; what is written through it is put under *lease*, if one is named."""
        return NamespacedContent(self, namespace, lease)


class NamespacedContent:
    """What one namespace has. Methods block; any thread may call them."""

    def __init__(self, content: Content, namespace: str, lease: str) -> None:
        self._database = content.database
        self._blobs = content.blobs
        self.namespace = namespace
        self.lease = lease

    def info(self, digest: str) -> Info:
        """Size, labels and times of a blob.

        Raises:
            NotFound: this namespace has no such blob.
        """
        with self._database.read() as tx:
            return self._find(tx, digest)

    def open(self, digest: str) -> IO[bytes]:
        """A blob as a file to read.

        Raises:
            NotFound: this namespace has no such blob.
        """
        self.info(digest)
        return self._blobs.open(digest)

    reader = open

    def read(self, digest: str) -> bytes:
        """All bytes of a blob; for small ones, such as manifests.

        Raises:
            NotFound: this namespace has no such blob.
        """
        with self.open(digest) as file:
            return file.read()

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        """The blobs that match any of *filters*, by digest.

        Raises:
            InvalidArgument: a filter does not parse.
        """
        wanted = parse(filters)
        with self._database.read() as tx:
            rows = tx.execute("SELECT * FROM content WHERE namespace = ? ORDER BY digest", (self.namespace,)).fetchall()
        return (info for info in map(_from_row, rows) if wanted.match(_lookup(info)))

    def update(self, digest: str, labels: Mapping[str, str], paths: Sequence[str] = ()) -> Info:
        """Change labels: those that *paths* name, or all.

        Raises:
            NotFound: this namespace has no such blob.
            InvalidArgument: a path is not of a label, or a label is too long.
        """
        for path in paths:
            if fieldmask.split(path)[0] != "labels":
                raise InvalidArgument(f'cannot update "{path}" field on content info "{digest}"')
        try:
            headers.labels(labels)
        except InvalidArgument as error:
            raise InvalidArgument(f"info.Labels: {error}") from None
        with self._database.write() as tx:
            merged = fieldmask.merge(self._find(tx, digest).labels, labels, paths, "labels")
            tx.execute(
                "UPDATE content SET labels = ?, updated_at = ? WHERE namespace = ? AND digest = ?",
                (dump(merged), timestamp.now(), self.namespace, digest),
            )
            return self._find(tx, digest)

    def update_labels(self, digest: str, labels: Mapping[str, str]) -> Info:
        """Add or replace *labels* and leave the others; an empty value removes one."""
        return self.update(digest, labels, [f"labels.{key}" for key in labels]) if labels else self.info(digest)

    def delete(self, digest: str) -> None:
        """Take a blob out of this namespace; its bytes go when no namespace has it.

        Raises:
            NotFound: this namespace has no such blob.
        """
        with self._database.write() as tx:
            self._find(tx, digest)
            tx.execute("DELETE FROM content WHERE namespace = ? AND digest = ?", (self.namespace, digest))
            remove_from_leases(tx, self.namespace, "content", digest)

    def status(self, ref: str) -> Status:
        """How far the ingest *ref* is.

        Raises:
            NotFound: there is none.
        """
        with self._database.read() as tx:
            row = self._ingest(tx, ref)
        if row is None:
            raise NotFound(f"reference {ref}")
        return self._status(row)

    def statuses(self, filters: Sequence[str] = ()) -> list[Status]:
        """The ingests that match any of *filters*, by ref.

        Raises:
            InvalidArgument: a filter does not parse.
        """
        wanted = parse(filters)
        with self._database.read() as tx:
            rows = tx.execute("SELECT * FROM ingests WHERE namespace = ? ORDER BY ref", (self.namespace,)).fetchall()
        found = [self._status(row) for row in rows]
        return [status for status in found if wanted.match(fields(ref=status.ref))]

    def abort(self, ref: str) -> None:
        """Drop an ingest and its bytes.

        Raises:
            NotFound: there is none.
        """
        with self._database.write() as tx:
            if self._ingest(tx, ref) is None:
                raise NotFound(f"reference {ref}")
            self._forget_ingest(tx, ref)
        with contextlib.suppress(NotFound):  # announced for a shared blob, it never had a file
            self._blobs.abort(backend_ref(self.namespace, ref))

    def writer(self, ref: str, *, expected: str = "", total: int = 0) -> Writer:
        """Start the ingest *ref* or go on with it; *expected* and *total* may be unknown (empty, 0).

        Raises:
            AlreadyExists: this namespace has *expected*; it is now also under the lease.
            Unavailable: another writer holds *ref*.
            InvalidArgument: *ref* is empty, or *expected* is no digest.
        """
        if not ref:
            raise InvalidArgument("ref must not be empty")
        if expected:
            digests.validate(expected)
        with self._database.write() as tx:
            exists = expected and self._adopt_into_lease(tx, expected)
            shared = None if exists else self._shared(expected, total)
            if not exists:
                self._record_ingest(tx, ref, expected, shared.size if shared else total)
        if exists:
            raise AlreadyExists(f"content {expected}")
        writer = Writer(self, self._blobs, ref, shared, total)
        if expected and shared is None:
            try:
                self._expect_still_missing(writer.ref, expected)
            except BaseException:
                writer.close()  # or nobody could have the name again
                raise
        return writer

    def _expect_still_missing(self, ref: str, expected: str) -> None:
        """Whoever held the name before may have published between our question and our turn.

        Raises:
            AlreadyExists: so it was.
        """
        with self._database.write() as tx:
            if arrived := self._adopt_into_lease(tx, expected):
                self._forget_ingest(tx, ref)
        if arrived:
            self._blobs.abort(backend_ref(self.namespace, ref))
            raise AlreadyExists(f"content {expected}")

    def _adopt_into_lease(self, tx: sqlite3.Connection, digest: str) -> bool:
        """Put a blob that is here already under the lease; answers whether it is here."""
        row = tx.execute(
            "SELECT 1 FROM content WHERE namespace = ? AND digest = ?", (self.namespace, digest)
        ).fetchone()
        if row is None:
            return False
        add_to_lease(tx, self.namespace, self.lease, "content", digest)
        return True

    def _shared(self, digest: str, total: int) -> files.BlobInfo | None:
        """The blob of another namespace that can be adopted; not where the announced size contradicts it."""
        if not digest:
            return None
        try:
            found = self._blobs.info(digest)
        except NotFound:
            return None
        return found if total in (0, found.size) else None

    def _record_ingest(self, tx: sqlite3.Connection, ref: str, expected: str, total: int) -> None:
        ensure_namespace(tx, self.namespace)
        leased = add_to_lease(tx, self.namespace, self.lease, "ingests", ref)
        now = timestamp.now()
        tx.execute(
            "INSERT INTO ingests VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET expires_at = excluded.expires_at",
            (self.namespace, ref, expected, total, now, 0 if leased else now + INGEST_LIFETIME),
        )

    def _forget_ingest(self, tx: sqlite3.Connection, ref: str) -> None:
        tx.execute("DELETE FROM ingests WHERE namespace = ? AND ref = ?", (self.namespace, ref))
        remove_from_leases(tx, self.namespace, "ingests", ref)

    def _record(self, ref: str, digest: str, size: int, labels: Mapping[str, str]) -> None:
        """The row that makes a published blob this namespace's own, and the end of its ingest.

        Raises:
            AlreadyExists: the row was there; the ingest ends all the same.
        """
        now = timestamp.now()
        with self._database.write() as tx:
            self._forget_ingest(tx, ref)
            ensure_namespace(tx, self.namespace)
            added = tx.execute(
                "INSERT OR IGNORE INTO content VALUES (?, ?, ?, ?, ?, ?)",
                (self.namespace, digest, size, dump(labels), now, now),
            ).rowcount
            add_to_lease(tx, self.namespace, self.lease, "content", digest)
        if not added:
            raise AlreadyExists(f"content {digest}")

    def _find(self, tx: sqlite3.Connection, digest: str) -> Info:
        row = tx.execute(
            "SELECT * FROM content WHERE namespace = ? AND digest = ?", (self.namespace, digest)
        ).fetchone()
        if row is None:
            raise NotFound(f"content digest {digest}")
        return _from_row(row)

    def _ingest(self, tx: sqlite3.Connection, ref: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = tx.execute(
            "SELECT * FROM ingests WHERE namespace = ? AND ref = ?", (self.namespace, ref)
        ).fetchone()
        return row

    def _status(self, row: sqlite3.Row) -> Status:
        status = Status(ref=row["ref"], total=row["total"], expected=row["expected"])
        status.started_at.CopyFrom(timestamp.to_wire(row["started_at"]))
        status.updated_at.CopyFrom(timestamp.to_wire(row["started_at"]))
        try:
            found = self._blobs.status(backend_ref(self.namespace, row["ref"]))
        except NotFound:
            status.offset = row["total"]  # a blob shared by another namespace has no file here and is whole
        else:
            status.offset = found.offset
            status.updated_at.CopyFrom(timestamp.to_wire(found.updated_at))
        return status


class Writer:
    """An open ingest of a namespace. Close it, or use it as a context manager; only a commit publishes."""

    def __init__(
        self, content: NamespacedContent, blobs: Blobs, ref: str, shared: files.BlobInfo | None, total: int
    ) -> None:
        self._content = content
        self._blobs = blobs
        self.ref = ref
        self._shared = shared
        self._total = total
        self._file = None if shared else blobs.writer(backend_ref(content.namespace, ref), total=total)

    @property
    def digest(self) -> str:
        """Of all bytes so far."""
        if self._file is not None:
            return self._file.digest
        assert self._shared is not None, "a writer without a file adopts a blob"
        return self._shared.digest

    @property
    def offset(self) -> int:
        """How many bytes there are so far."""
        if self._file is not None:
            return self._file.offset
        return self._shared.size if self._shared else 0

    def status(self) -> Status:
        """How far this ingest is."""
        return self._content.status(self.ref)

    def write(self, data: bytes) -> int:
        """Add *data* at the end; answers how many bytes, which is all of them.

        Raises:
            OSError: the disk is full, for one.
        """
        return self._own(keep=True).write(data) if data else 0

    def truncate(self, size: int = 0) -> None:
        """Start anew, with nothing.

        Raises:
            FailedPrecondition: *size* is not 0.
        """
        self._own(keep=False).truncate(size)

    def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] | None = None) -> str:
        """Publish, and answer the digest; 0 and the empty string check nothing.

        Raises:
            FailedPrecondition: length or digest differ. Nothing is published; the ingest stays.
            AlreadyExists: this namespace has the blob.
            InvalidArgument: a label is too long.
        """
        try:
            labels = headers.labels(labels or {})
        except InvalidArgument as error:
            raise InvalidArgument(f"info.Labels: {error}") from None
        if size and size != self.offset:
            raise FailedPrecondition(f'"{self.ref}" failed size validation: {self.offset} != {size}')
        if self._file is not None:
            self._file.sync()  # before the lock below: nobody else should wait for this disk
        with self._blobs.publishing:
            digest, length = self._publish(size, expected)
            try:
                self._content._record(self.ref, digest, length, labels)
            finally:
                self.close()  # not before: who waits for the name asks for the row next
        return digest

    def _publish(self, size: int, expected: str) -> tuple[str, int]:
        if self._file is None:
            if expected and expected != self.digest:
                raise FailedPrecondition(f'"{self.ref}" unexpected digest')
            return self.digest, self._blobs.info(self.digest).size
        length = self._file.offset
        try:
            return self._file.commit(size, expected), length
        except AlreadyExists:
            return self._file.digest, length  # another namespace was faster; the row is what counts

    def close(self) -> None:
        """Let go of the name. Uncommitted bytes stay for the next writer."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _own(self, *, keep: bool) -> files.Writer:
        """A file of our own: an adopted blob is left as soon as somebody writes other bytes."""
        if self._file is None:
            file = self._blobs.writer(backend_ref(self._content.namespace, self.ref))
            if keep:
                with self._blobs.open(self.digest) as shared:
                    while chunk := shared.read(files.CHUNK):
                        file.write(chunk)
            self._file = file
        return self._file


def backend_ref(namespace: str, ref: str) -> str:
    """The name under which ``blobs`` knows the ingest *ref* of *namespace*."""
    return f"{namespace}/{ref}"


def _from_row(row: sqlite3.Row) -> Info:
    return Info(
        digest=row["digest"],
        size=row["size"],
        labels=load(row["labels"]),
        created_at=timestamp.to_wire(row["created_at"]),
        updated_at=timestamp.to_wire(row["updated_at"]),
    )


def _lookup(info: Info) -> Lookup:
    return fields(digest=info.digest, size=str(info.size), labels=info.labels)
