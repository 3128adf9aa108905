"""The host's device nodes, as a runtime spec describes them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from minicontainerd.errors import InvalidArgument

_OF_EVERY_CONTAINER = {"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"}


def host_devices(folder: str = "/dev") -> Iterator[dict[str, Any]]:
    """Every device node below *folder*, but for what a container has of its own.

    Source: containerd@301026e pkg/oci/utils_unix.go, ``HostDevices``.
    """
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in _OF_EVERY_CONTAINER:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from host_devices(entry.path)
        elif is_device(found := entry.stat(follow_symlinks=False)):
            yield describe(entry.path, found)


def device_at(path: str) -> dict[str, Any]:
    """The device node at *path*.

    Raises:
        InvalidArgument: there is none.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise InvalidArgument(f"device {path}: {error.strerror}") from None
    if not is_device(found):
        raise InvalidArgument(f"{path} is not a device node")
    return describe(path, found)


def is_device(found: os.stat_result) -> bool:
    """Whether it is one."""
    return stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)


def describe(path: str, found: os.stat_result) -> dict[str, Any]:
    """As in the spec's ``linux.devices``."""
    return {
        "path": path,
        "type": "c" if stat.S_ISCHR(found.st_mode) else "b",
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }
