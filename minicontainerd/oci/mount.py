"""A mount as containerd hands it about: what a snapshotter returns and a shim carries out.

It is four plain values, made for the wire. Nobody mounts here; linux/mount_list.py does.
Source: containerd@301026e core/mount/mount.go and api/types/mount.proto.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mount:
    """One call of mount(2) to be made.

    *type* is the filesystem's name, or ``bind``. *source* is a device or folder. *target* is a path below the
    place where the whole list is mounted; it is nearly always empty, which is that place itself.
    """

    type: str
    source: str
    target: str = ""
    options: tuple[str, ...] = ()
