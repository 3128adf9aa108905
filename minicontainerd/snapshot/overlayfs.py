"""Overlay snapshots: a container's root filesystem as a stack of directories that the kernel shows as one.

::

    snapshots/7/fs      the layer: the upperdir while active, a lowerdir for every child
    snapshots/7/work    overlayfs's own scratch space, for active ones, on the same file system as fs

    prepare("c", parent=3)     overlay  upperdir=4/fs,workdir=4/work,lowerdir=3/fs:2/fs:1/fs    (nearest first)
    prepare("x", parent="")    bind 5/fs, rw                     nothing to put below
    view("v", parent=1)        bind 1/fs, ro                     nothing to put on top
    view("w", parent=3)        overlay  lowerdir=3/fs:2/fs:1/fs  no upperdir: read-only

What a layer deletes is in ``fs`` as overlayfs wants it: a character device 0/0 hides a name, the attribute
``trusted.overlay.opaque`` on a directory hides all that the layers below have in it (apply.py writes them).
Nothing here mounts, it returns mounts for the caller to make; and a committed ``fs`` is never written again.
``index=off`` because several containers mount the same lower directories; the index would forbid that.

Left out on purpose: user-namespace remapping, quotas.
Read next: apply.py. Upstream: containerd@301026e plugins/snapshots/overlay/overlay.go.
"""

from __future__ import annotations

import os
from pathlib import Path

from minicontainerd.linux import disk
from minicontainerd.oci.mount import Mount
from minicontainerd.snapshot.directories import DirectorySnapshotter
from minicontainerd.snapshot.records import Record
from minicontainerd.snapshot.snapshotter import Kind

_INDEX = "/sys/module/overlay/parameters/index"  # there if this kernel knows the option


class OverlaySnapshotter(DirectorySnapshotter):
    """Stacked directories, under *root*; *options* are added to every overlay mount."""

    words = {
        "mounts": "failed to get active mount",
        "commit": "failed to commit snapshot {key}",
        "remove": "failed to remove snapshot {key}",
    }

    def __init__(self, root: str | os.PathLike[str], options: tuple[str, ...] = ()) -> None:
        super().__init__(root)
        configured = any(option.split("=")[0] == "index" for option in options)
        self.options = options if configured or not os.path.exists(_INDEX) else (*options, "index=off")

    def fill(self, path: Path, record: Record) -> None:
        disk.make_directory(path / "fs")
        (path / "fs").chmod(0o755)
        if record.info.kind is Kind.ACTIVE:
            disk.make_directory(path / "work", 0o711)
        if record.parent_ids:  # whoever looks at / sees the owner of the uppermost directory
            above = self.layer(record.parent_ids[0]).stat()
            os.chown(path / "fs", above.st_uid, above.st_gid)

    def layer(self, number: int) -> Path:
        return self.directory / str(number) / "fs"

    def build_mounts(self, record: Record) -> tuple[Mount, ...]:
        lower = [str(self.layer(number)) for number in record.parent_ids]
        view = record.info.kind is Kind.VIEW
        if not lower:
            return (Mount("bind", str(self.layer(record.id)), "", ("ro" if view else "rw", "rbind")),)
        if view and len(lower) == 1:
            return (Mount("bind", lower[0], "", ("ro", "rbind")),)
        own = self.directory / str(record.id)
        options = [] if view else [f"workdir={own}/work", f"upperdir={own}/fs"]
        return (Mount("overlay", "overlay", "", (*options, f"lowerdir={':'.join(lower)}", *self.options)),)
