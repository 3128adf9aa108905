"""What is mounted where: /proc/self/mountinfo, one line a mount.

::

    36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    │  │  │    │     │     │          │        │ │    │         └ options of the filesystem
    │  │  │    │     │     │          │        │ │    └ source
    │  │  │    │     │     │          │        │ └ type of the filesystem
    │  │  │    │     │     │          │        └ end of the optional fields
    │  │  │    │     │     │          └ propagation: shared:N, master:N, propagate_from:N, unbindable
    │  │  │    │     │     └ options of this mount
    │  │  │    │     └ where it is attached, seen from our root
    │  │  │    └ which folder of the filesystem is its root
    │  │  └ device
    └──┴ id of the mount, and of the mount it sits on

Blanks, tabs, newlines and backslashes in paths are written as three octal digits. Source: proc_pid_mountinfo(5).
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple


class MountPoint(NamedTuple):
    """One line of mountinfo; *propagation* holds the optional fields as they are written."""

    id: int
    parent: int
    device: str
    root: str
    target: str
    options: str
    propagation: tuple[str, ...]
    fstype: str
    source: str
    filesystem_options: str


def parse_mountinfo(text: str) -> list[MountPoint]:
    """Every mount of a mountinfo file, in its order: parents stand before what sits on them.

    >>> parse_mountinfo(r"36 35 98:0 / /a\\040b rw shared:1 - ext4 /dev/vda rw")[0].target
    '/a b'
    """
    return [_parse(line) for line in text.splitlines() if line]


def mountinfo(pid: int | str = "self") -> list[MountPoint]:
    """The mounts that process *pid* sees.

    Raises:
        ProcessLookupError, FileNotFoundError: there is no such process.
    """
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return parse_mountinfo(file.read())


def mount_of(path: str, mounts: list[MountPoint] | None = None) -> MountPoint:
    """The mount that *path* lies on: the last one whose target is *path* or a folder above it."""
    path = os.path.realpath(path)
    best: MountPoint | None = None
    for mount in mounts if mounts is not None else mountinfo():
        above = mount.target == "/" or path == mount.target or path.startswith(mount.target + "/")
        if above and (best is None or len(mount.target) >= len(best.target)):
            best = mount
    if best is None:
        raise FileNotFoundError(f"no mount holds {path}")
    return best


def _parse(line: str) -> MountPoint:
    before, _, after = line.partition(" - ")
    number, parent, device, root, target, options, *optional = before.split(" ")
    fstype, source, filesystem_options = after.split(" ", 2)
    paths = (_unescape(root), _unescape(target))
    return MountPoint(
        int(number),
        int(parent),
        device,
        *paths,
        options,
        tuple(optional),
        fstype,
        _unescape(source),
        filesystem_options,
    )


def _unescape(text: str) -> str:
    r"""Undo the octal escapes.

    >>> _unescape(r"a\040b\134c")
    'a b\\c'
    """
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text) if "\\" in text else text
