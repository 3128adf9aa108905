"""Native snapshots: every snapshot is a full directory, copied from its parent.

Slow, and it needs no help from the kernel or the file system, so it works everywhere, and shows what the other
snapshotters save::

    snapshots/1    layer one                      mount: bind snapshots/1
    snapshots/2    a copy of 1, with layer two    mount: bind snapshots/2
    (3)            a view of 2 has no directory   mount: bind snapshots/2, read-only

On a file system with shared blocks (btrfs, xfs) a copy costs no more than its inodes. Whiteouts do not occur here: a
file that a layer deletes is deleted.
Read next: copying.py. Upstream: containerd@301026e plugins/snapshots/native/native.go.
"""

from __future__ import annotations

from pathlib import Path

from minicontainerd.oci.mount import Mount
from minicontainerd.snapshot.copying import copy_tree
from minicontainerd.snapshot.directories import DirectorySnapshotter
from minicontainerd.snapshot.records import Record
from minicontainerd.snapshot.snapshotter import Kind


class NativeSnapshotter(DirectorySnapshotter):
    """Full copies, under *root*."""

    words = {
        "mounts": "failed to get snapshot mount",
        "commit": "failed to commit snapshot",
        "remove": "failed to remove",
    }

    def fill(self, path: Path, record: Record) -> None:
        path.chmod(0o755)
        if record.parent_ids and record.info.kind is Kind.ACTIVE:
            copy_tree(str(self.layer(record.parent_ids[0])), str(path))

    def layer(self, number: int) -> Path:
        return self.directory / str(number)

    def build_mounts(self, record: Record) -> tuple[Mount, ...]:
        view = record.info.kind is Kind.VIEW
        number = record.parent_ids[0] if view and record.parent_ids else record.id
        return (Mount("bind", str(self.layer(number)), "", ("rbind", "ro" if view else "rw")),)
