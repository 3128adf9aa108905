"""What a snapshotter is: this file is the manual, and the interface that all of them fulfil.

A snapshotter stores states of a filesystem as differences, and gives them back as *mounts*. It never mounts anything
itself, and it does not know what an image is. There are three kinds of snapshot, in one name space::

    prepare(key, parent) ──▶ Active ──── commit(name, key) ──▶ Committed ──▶ parent of the next
    view(key, parent) ─────▶ View        (the key is gone)     (has a name, is never written again)

- *Active*: writable, has a *key*. It becomes committed or is removed; it is never a parent.
- *View*: like it, read-only, and never committed.
- *Committed*: has a *name*, and is the only kind that can be a parent. The empty parent is the empty directory.

A layer is unpacked, and a container run, like this (names of committed layers are chain ids, see oci/image.py)::

    >>> import pathlib, tempfile
    >>> from minicontainerd.snapshot.native import NativeSnapshotter
    >>> root = tempfile.TemporaryDirectory()
    >>> snapshots = NativeSnapshotter(root.name)
    >>> [mount] = snapshots.prepare("extract-1 sha256:one")     # from the empty parent
    >>> _ = pathlib.Path(mount.source, "hello").write_text("world")  # mount it, or as here, know what native returns
    >>> snapshots.commit("sha256:one", "extract-1 sha256:one")
    >>> [mount] = snapshots.prepare("container", "sha256:one")  # a container's own filesystem
    >>> pathlib.Path(mount.source, "hello").read_text()
    'world'
    >>> snapshots.remove("sha256:one")
    Traceback (most recent call last):
    minicontainerd.errors.FailedPrecondition: failed to remove: cannot remove snapshot with child: failed precondition
    >>> snapshots.remove("container")                           # its changes are gone
    >>> [info.name for info in snapshots.walk()]
    ['sha256:one']
    >>> snapshots.close(); root.cleanup()

Methods may be called from several threads. They block, for as long as a copy of the whole parent may take.
Labels are free, but only those that start with ``containerd.io/snapshot/`` are inherited from an image's layers.

Source: containerd@301026e core/snapshots/snapshotter.go.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from minicontainerd.oci.mount import Mount

LABEL_REF = "containerd.io/snapshot.ref"  # on prepare: the name that the result will be committed under
INHERITED = "containerd.io/snapshot/"


class Kind(enum.IntEnum):
    """The numbers are those of the gRPC API."""

    UNKNOWN = 0
    VIEW = 1
    ACTIVE = 2
    COMMITTED = 3


@dataclass(frozen=True)
class Info:
    """What is known of a snapshot; *name* is its key while it is active or a view."""

    name: str
    parent: str
    kind: Kind
    created: datetime
    updated: datetime
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """What a snapshot itself takes, without its parents: bytes on disk and inodes, each inode counted once."""

    size: int
    inodes: int


class Snapshotter(ABC):
    """See the module. Every method that takes a *key* or *name* that is not there raises NotFound."""

    @abstractmethod
    def stat(self, key: str) -> Info:
        """What is known of the snapshot *key*, whatever its kind."""

    @abstractmethod
    def update(self, name: str, labels: Mapping[str, str], fields: tuple[str, ...] | None = None) -> Info:
        """Replace the labels; or only those that *fields* names.

        *fields* holds ``labels``, or ``labels.<key>`` for one label, as a field mask does. A label that a field names
        and *labels* has not, or has empty, is removed.

        Raises:
            InvalidArgument: any other field; nothing else of a snapshot can be changed.
        """

    @abstractmethod
    def usage(self, key: str) -> Usage:
        """What the snapshot takes: measured now for an active one, as of its commit for a committed one."""

    @abstractmethod
    def mounts(self, key: str) -> tuple[Mount, ...]:
        """The mounts that :meth:`prepare` or :meth:`view` returned for *key*.

        Raises:
            FailedPrecondition: *key* is committed.
        """

    @abstractmethod
    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] | None = None) -> tuple[Mount, ...]:
        """Make a writable snapshot *key* that starts as *parent*, and say how to mount it.

        Raises:
            AlreadyExists: the key or name is in use.
            NotFound: *parent* is not there.
            InvalidArgument: *parent* is not committed.
        """

    @abstractmethod
    def view(self, key: str, parent: str = "", labels: Mapping[str, str] | None = None) -> tuple[Mount, ...]:
        """Like :meth:`prepare`, but read-only, and not to be committed."""

    @abstractmethod
    def commit(self, name: str, key: str, labels: Mapping[str, str] | None = None) -> None:
        """Turn the active snapshot *key* into the committed snapshot *name*; labels are *labels*, not those of *key*.

        Raises:
            AlreadyExists: *name* is in use. The active snapshot stays.
            FailedPrecondition: *key* is a view or committed.
        """

    @abstractmethod
    def remove(self, key: str) -> None:
        """Forget the snapshot and free what it took.

        Raises:
            FailedPrecondition: another snapshot has it as its parent.
        """

    @abstractmethod
    def walk(self) -> Iterator[Info]:
        """All snapshots, ordered by name."""

    @abstractmethod
    def cleanup(self) -> None:
        """Delete what a crash left behind, or a removal could not delete."""

    @abstractmethod
    def close(self) -> None:
        """Release the database. Closing twice is no error."""
