"""What snapshotters that keep one directory a snapshot have in common: the directory and its row, made together.

::

    root/metadata.db            which snapshots there are (records.py)
    root/snapshots/7            the directory of number 7

The order is the argument for crashes. Making: inside one transaction, the row is written and the directory made,
filled and synced; the transaction ends last. Removing: the row goes first, then the directory. So whatever has no row
is a leftover, and :meth:`DirectorySnapshotter.cleanup`, which also runs at start, deletes it.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path

from minicontainerd.errors import ContainerdError
from minicontainerd.linux import disk
from minicontainerd.linux.tell import step
from minicontainerd.oci.mount import Mount
from minicontainerd.snapshot.copying import measure
from minicontainerd.snapshot.records import Record, Records
from minicontainerd.snapshot.snapshotter import Info, Kind, Snapshotter, Usage


def prefixed(words: str, error: ContainerdError) -> ContainerdError:
    """The same error, with *words* before its message, as ``fmt.Errorf("words: %w")`` does."""
    return type(error)(f"{words}: {error}")


class DirectorySnapshotter(Snapshotter):
    """Everything except what is in a directory, and how it is mounted."""

    words: dict[str, str]  # what precedes the errors of mounts, commit and remove: each of containerd's has its own

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self.directory = self.root / "snapshots"
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.records = Records(self.root / "metadata.db")
        self.cleanup()

    @abstractmethod
    def fill(self, path: Path, record: Record) -> None:
        """Put what a new snapshot starts with into the empty directory *path*."""

    @abstractmethod
    def build_mounts(self, record: Record) -> tuple[Mount, ...]:
        """How to mount it."""

    @abstractmethod
    def layer(self, number: int) -> Path:
        """The directory whose blocks are counted as the snapshot's own."""

    def stat(self, key: str) -> Info:
        return self.records.get(key).info

    def update(self, name: str, labels: Mapping[str, str], fields: tuple[str, ...] | None = None) -> Info:
        return self.records.update(name, labels, fields)

    def usage(self, key: str) -> Usage:
        record = self.records.get(key)
        return measure(str(self.layer(record.id))) if record.info.kind is Kind.ACTIVE else record.usage

    def mounts(self, key: str) -> tuple[Mount, ...]:
        try:
            return self.build_mounts(self.records.get_mountable(key))
        except ContainerdError as error:
            raise prefixed(self.words["mounts"], error) from error

    def prepare(self, key: str, parent: str = "", labels: Mapping[str, str] | None = None) -> tuple[Mount, ...]:
        return self._create(Kind.ACTIVE, key, parent, labels)

    def view(self, key: str, parent: str = "", labels: Mapping[str, str] | None = None) -> tuple[Mount, ...]:
        return self._create(Kind.VIEW, key, parent, labels)

    def _create(self, kind: Kind, key: str, parent: str, labels: Mapping[str, str] | None) -> tuple[Mount, ...]:
        title = f"a directory for the {kind.name.lower()} snapshot {key}"
        with step(title), self.records.writing():
            try:
                record = self.records.create(kind, key, parent, labels)
            except ContainerdError as error:
                raise prefixed("failed to create snapshot", error) from error
            self._make_directory(record)
        return self.build_mounts(record)

    def _make_directory(self, record: Record) -> None:
        new = self.directory / str(record.id)
        self._delete(new)  # the number may have been given before, in a transaction that came to nothing
        try:
            disk.make_directory(new, 0o700)
            self.fill(new, record)
            disk.sync_directory(new)
            disk.sync_directory(self.directory)
        except BaseException:
            self._delete(new)
            raise

    def commit(self, name: str, key: str, labels: Mapping[str, str] | None = None) -> None:
        record = self.records.get(key)
        active = record.info.kind is Kind.ACTIVE
        usage = measure(str(self.layer(record.id))) if active else record.usage  # before the transaction: it takes long
        try:
            self.records.commit(key, name, usage, labels)
        except ContainerdError as error:
            raise prefixed(self.words["commit"].format(key=key), error) from error

    def remove(self, key: str) -> None:
        try:
            number = self.records.remove(key)
        except ContainerdError as error:
            raise prefixed(self.words["remove"].format(key=key), error) from error
        self._delete(self.directory / str(number))

    def walk(self) -> Iterator[Info]:
        return iter([record.info for record in self.records.walk()])

    def cleanup(self) -> None:
        with self.records.writing():  # nothing is half made while we hold it, except by a process that died
            used = {str(number) for number in self.records.ids()}
            leftovers = [path for path in self.directory.iterdir() if path.name not in used]
            for path in leftovers:
                self._delete(path)

    def _delete(self, path: Path) -> None:
        try:
            disk.remove_tree(path)
        except OSError:
            pass  # still mounted by somebody (EBUSY): its row is gone, so the next cleanup tries again

    def close(self) -> None:
        self.records.close()
