"""What this room needs from others, by shape only.

A pull runs in the daemon, against the store and a snapshotter directly, and in ``minictr``, against the same two over
gRPC. So nothing here imports either; whatever has these methods will do. All of them block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Protocol

from minicontainerd.oci.image import Descriptor
from minicontainerd.oci.mount import Mount


class BlobInfo(Protocol):
    """What the store knows of a blob."""

    @property
    def size(self) -> int: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


class BlobWriter(Protocol):
    """An open ingest. Closed without commit, it stays, and a later writer of the same name goes on."""

    @property
    def offset(self) -> int: ...
    def write(self, data: bytes, /) -> int: ...
    def truncate(self, size: int = 0) -> None: ...
    def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] | None = None) -> object: ...
    def close(self) -> None: ...


class Content(Protocol):
    """The content store of a namespace; see store/content.py for what each raises."""

    def info(self, digest: str) -> BlobInfo: ...
    def reader(self, digest: str) -> IO[bytes]: ...
    def read(self, digest: str) -> bytes: ...
    def writer(self, ref: str, *, expected: str = "", total: int = 0) -> BlobWriter: ...
    def update_labels(self, digest: str, labels: Mapping[str, str]) -> object: ...
    def abort(self, ref: str) -> None: ...


class Snapshots(Protocol):
    """The part of a snapshotter that unpacking needs; see snapshot/snapshotter.py."""

    def stat(self, key: str) -> object: ...
    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] | None = None) -> Sequence[Mount]: ...
    def commit(self, name: str, key: str, labels: Mapping[str, str] | None = None) -> None: ...
    def remove(self, key: str) -> None: ...


class Applier(Protocol):
    """Puts the layer *descriptor*, a blob of the store, into the snapshot *mounts* are of; answers its diff id."""

    def __call__(self, descriptor: Descriptor, mounts: Sequence[Mount]) -> str: ...


class Progress(Protocol):
    """Hears how far a blob is: *status* is waiting, resolving, resolved, downloading, exists, done or extracting.

    Called from several threads.
    """

    def __call__(self, ref: str, status: str, offset: int, total: int) -> None: ...


def quiet(ref: str, status: str, offset: int, total: int) -> None:
    """The progress that nobody wants to hear."""
