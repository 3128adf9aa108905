"""Blobs on disk: immutable files named by their digest, and the ingests they grow in.

::

    blobs/sha256/<hex>          a blob: whole, synced, mode 0444
    ingest/<sha256 of ref>/     an ingest, until it is committed or aborted
        ref                     the name it was started under; its mtime is when
        total                   how many bytes its writer expects, if it said so
        data                    what has arrived; its mtime is when last

A name may be held by one writer at a time. When a writer closes without a commit, the ingest stays, and the next
writer of that name finds its bytes and goes on behind them: that is how a pull survives a broken connection.

Nothing here knows of namespaces or labels; ``content`` adds those.
Source: containerd@301026e plugins/content/local/{store,writer,locks}.go.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from minicontainerd.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from minicontainerd.linux import disk
from minicontainerd.oci import digest as digests

CHUNK = 1 << 20
"""Bytes read at a time when an ingest is hashed again."""


@dataclass(frozen=True)
class BlobInfo:
    """A blob's *size* in bytes, and when it was published, in nanoseconds since 1970."""

    digest: str
    size: int
    created_at: int


@dataclass(frozen=True)
class Status:
    """How far an ingest is: *offset* of *total* bytes (0 for unknown); times in nanoseconds since 1970."""

    ref: str
    offset: int
    total: int
    started_at: int
    updated_at: int


class Blobs:
    """The blobs and ingests below one folder. Methods block; any thread may call them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.publishing = threading.RLock()
        """Held while a blob is renamed into place and its row written, and while unreferenced blobs are removed."""
        self._held: dict[str, int] = {}
        self._lock = threading.Lock()
        (root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (root / "ingest").mkdir(exist_ok=True)
        for folder in (root / "ingest").iterdir():
            if not _is_whole(folder):  # a crash came while it was made or removed
                disk.remove_tree(folder)

    def path(self, digest: str) -> Path:
        """Where the blob *digest* is, or would be.

        Raises:
            InvalidArgument: *digest* is none.
        """
        digests.validate(digest)
        algorithm, encoded = digest.split(":")
        return self.root / "blobs" / algorithm / encoded

    def info(self, digest: str) -> BlobInfo:
        """Size and time of a blob.

        Raises:
            NotFound: there is no such blob.
        """
        try:
            found = self.path(digest).stat()
        except FileNotFoundError:
            raise NotFound(f"content {digest}") from None
        return BlobInfo(digest, found.st_size, found.st_mtime_ns)

    def open(self, digest: str) -> IO[bytes]:
        """The blob as a file to read.

        Raises:
            NotFound: there is no such blob.
        """
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(f"content {digest}") from None

    def walk(self) -> Iterator[BlobInfo]:
        """Every blob."""
        for algorithm in sorted((self.root / "blobs").iterdir()):
            for file in sorted(algorithm.iterdir()):
                with contextlib.suppress(NotFound):  # removed since the folder was read
                    yield self.info(f"{algorithm.name}:{file.name}")

    def delete(self, digest: str) -> None:
        """Remove a blob.

        Raises:
            NotFound: there is no such blob.
        """
        try:
            disk.unlink(self.path(digest))
        except FileNotFoundError:
            raise NotFound(f"content {digest}") from None

    def writer(self, ref: str, *, total: int = 0, algorithm: str = "sha256") -> Writer:
        """Start the ingest *ref*, or go on with it. *total* is the number of bytes expected, 0 for unknown.

        Raises:
            Unavailable: another writer holds *ref*.
            FailedPrecondition: it was started with another total.
        """
        self._hold(ref)
        try:
            return Writer(self, ref, total, algorithm)
        except BaseException:
            self._release(ref)
            raise

    def status(self, ref: str) -> Status:
        """How far the ingest *ref* is.

        Raises:
            NotFound: there is none.
        """
        return self._status(self._ingest(ref), ref)

    def statuses(self) -> Iterator[Status]:
        """Every ingest."""
        for folder in sorted((self.root / "ingest").iterdir()):
            with contextlib.suppress(NotFound):
                yield self._status(folder, "")

    def abort(self, ref: str) -> None:
        """Remove the ingest *ref* and its bytes, even while a writer is open on it.

        Raises:
            NotFound: there is none.
        """
        folder = self._ingest(ref)
        if not folder.exists():
            raise NotFound(f'ingest ref "{ref}"')
        disk.remove_tree(folder)

    def is_held(self, ref: str) -> bool:
        """Whether a writer is open on *ref* now."""
        return ref in self._held

    def _ingest(self, ref: str) -> Path:
        return self.root / "ingest" / digests.of(ref.encode()).removeprefix("sha256:")

    def _status(self, folder: Path, ref: str) -> Status:
        try:
            named, data = (folder / "ref"), (folder / "data").stat()
            total = folder / "total"
            return Status(
                named.read_text(),
                data.st_size,
                int(total.read_text()) if total.exists() else 0,
                named.stat().st_mtime_ns,
                data.st_mtime_ns,
            )
        except FileNotFoundError:
            raise NotFound(f'ingest ref "{ref}"') from None

    def _hold(self, ref: str) -> None:
        with self._lock:
            since = self._held.get(ref)
            if since is not None:
                seconds = (time.time_ns() - since) / 1e9
                raise Unavailable(f"ref {ref} locked for {seconds:.3f}s (since {time.ctime(since / 1e9)})")
            self._held[ref] = time.time_ns()

    def _release(self, ref: str) -> None:
        with self._lock:
            self._held.pop(ref, None)


class Writer:
    """An open ingest. Close it, or use it as a context manager; only a commit publishes."""

    def __init__(self, blobs: Blobs, ref: str, total: int, algorithm: str) -> None:
        self._blobs = blobs
        self._folder = blobs._ingest(ref)
        self.ref = ref
        self.total = total
        self._algorithm = algorithm
        self._prepare_folder()
        self._file = (self._folder / "data").open("ab", buffering=0)
        self.offset = 0
        self._hash: Any = digests.hasher(algorithm)
        self._hash_what_is_there()

    def _prepare_folder(self) -> None:
        """Make the folder, or check that the one there is ours; ``ref`` is written last, so that it marks it whole."""
        disk.ensure_directory(self._folder)
        if not _is_whole(self._folder):
            try:
                self._start()
            except OSError:
                disk.remove_tree(self._folder)
                raise
            return
        known = self._blobs._status(self._folder, self.ref)
        if self.total and known.total and self.total != known.total:
            raise FailedPrecondition(f"provided total differs from status: {self.total} != {known.total}")
        self.total = known.total or self.total

    def _start(self) -> None:
        disk.write_file(self._folder / "data", b"")
        if self.total:
            disk.write_file(self._folder / "total", str(self.total).encode())
        disk.write_file(self._folder / "ref", self.ref.encode())

    def _hash_what_is_there(self) -> None:
        with (self._folder / "data").open("rb") as data:
            while chunk := data.read(CHUNK):
                self._hash.update(chunk)
                self.offset += len(chunk)

    @property
    def digest(self) -> str:
        """Of all bytes so far."""
        return f"{self._hash.name}:{self._hash.hexdigest()}"

    def status(self) -> Status:
        """How far this ingest is."""
        return self._blobs.status(self.ref)

    def write(self, data: bytes) -> int:
        """Add *data* at the end; answers how many bytes, which is all of them.

        Raises:
            OSError: the disk is full, for one. What arrived before stays.
        """
        view = memoryview(data)
        while view:
            written = self._file.write(view)
            self._hash.update(view[:written])
            self.offset += written
            view = view[written:]
        return len(data)

    def truncate(self, size: int = 0) -> None:
        """Start anew, with nothing.

        Raises:
            FailedPrecondition: *size* is not 0; a hash cannot be wound back to anywhere else.
        """
        if size != 0:
            raise FailedPrecondition("truncate: unsupported size")
        self._file.truncate(0)
        self._hash = digests.hasher(self._algorithm)
        self.offset = 0

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        disk.sync(self._file.fileno())

    def commit(self, size: int = 0, expected: str = "") -> str:
        """Publish the bytes as a blob and answer its digest; 0 and the empty string check nothing.

        The name stays held until :meth:`close`: whoever wants it next should find the row of the blob, too.

        Raises:
            FailedPrecondition: length or digest differ. Nothing is published; the ingest stays.
            AlreadyExists: the store has this blob. The ingest is gone.
        """
        if size and size != self.offset:
            raise FailedPrecondition(f"unexpected commit size {self.offset}, expected {size}")
        if expected and expected.split(":")[0] != self._hash.name:
            self._hash_again(expected)
        digest = self.digest
        if expected and expected != digest:
            raise FailedPrecondition(f"unexpected commit digest {digest}, expected {expected}")
        self.sync()
        target = self._blobs.path(digest)
        with self._blobs.publishing:
            existed = target.exists()
            if not existed:
                disk.ensure_directory(target.parent)
                os.fchmod(self._file.fileno(), 0o444)
                disk.rename(self._folder / "data", target)  # a crash leaves an ingest or a whole blob, never half
            disk.sync_directory(target.parent)  # also of one that existed: whoever renamed it may have died then
        self._remove_folder()  # while the name is held: the next writer must not see half
        if existed:
            raise AlreadyExists(f"content {digest}")
        return digest

    def _remove_folder(self) -> None:
        """The blob is published, so an error would be wrong; what is left the next writer or start removes."""
        for _ in range(2):
            with contextlib.suppress(OSError):
                return disk.remove_tree(self._folder)
        return None

    def close(self) -> None:
        """Let go of the name. Uncommitted bytes stay for the next writer."""
        if not self._file.closed:
            self._file.close()
            self._blobs._release(self.ref)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hash_again(self, expected: str) -> None:
        digests.validate(expected)
        self._algorithm = expected.split(":")[0] + ":"
        self._hash = digests.hasher(self._algorithm)
        self.offset = 0
        self._hash_what_is_there()


def _is_whole(ingest: Path) -> bool:
    """Are its files all there? Nothing of an ingest is synced: a power cut can leave them without their content."""
    try:
        named = digests.of((ingest / "ref").read_bytes()).removeprefix("sha256:")
        total = (ingest / "total").read_text() if (ingest / "total").exists() else "0"
    except FileNotFoundError:
        return False
    return named == ingest.name and total.isdecimal() and (ingest / "data").exists()
