"""What has to be undone when a container goes, also by a process that did not make it."""

from __future__ import annotations

from ...linux.mount import MNT
from ...linux.mount_list import unmount_all
from ...linux.mountinfo import mountinfo


def unmount_rootfs(rootfs: str) -> None:
    """Detach everything mounted at *rootfs* and below, the deepest first."""
    targets = {mount.target for mount in mountinfo() if mount.target == rootfs or mount.target.startswith(rootfs + "/")}
    for target in sorted(targets, key=len, reverse=True):
        unmount_all(target, MNT.DETACH | MNT.NOFOLLOW)
