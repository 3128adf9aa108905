"""The few files in /dev that every program expects, and those the config adds.

::

    null zero full random urandom tty     device nodes, always
    ptmx                                  a link to pts/ptmx: the terminals of the container's own devpts
    fd stdin stdout stderr                links into /proc/self/fd
    console                               the container's terminal, when it has one

They are made only in a /dev of the container's own. Who binds the host's /dev gets the host's.
Source: runtime-spec 1.3 config-linux.md#default-devices and runtime-linux.md#dev-symbolic-links.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from ..errors import InvalidArgument
from ..linux import paths
from ..linux.mount import MS, mount
from ..linux.mount_options import parse_mount_options
from ..linux.tell import step

if TYPE_CHECKING:
    from ..oci.runtime import Device, Spec

_DEFAULT: list[Device] = [
    {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
    {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5},
    {"path": "/dev/full", "type": "c", "major": 1, "minor": 7},
    {"path": "/dev/random", "type": "c", "major": 1, "minor": 8},
    {"path": "/dev/urandom", "type": "c", "major": 1, "minor": 9},
    {"path": "/dev/tty", "type": "c", "major": 5, "minor": 0},
]
_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/ptmx": "pts/ptmx",
}
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def check(devices: list[Device]) -> None:
    """Look at the devices of a config.

    Raises:
        InvalidArgument: one has a type that is none, in runc's words.
    """
    for each in devices:
        if each["type"] not in _KINDS:
            raise InvalidArgument(f'invalid device type "{each["type"]}"')


def has_own_dev(config: Spec) -> bool:
    """Whether /dev is the container's own, and not one that is bound from elsewhere."""
    for each in config.get("mounts", []):
        if os.path.normpath(each["destination"]) == "/dev":
            return not parse_mount_options(each.get("options") or [], each.get("type", "")).is_bind
    return True


def make(root: int, config: Spec) -> None:
    """Make the nodes and links in the rootfs behind *root*.

    Raises:
        FileExistsError: a file that is not that device is in the way.
    """
    linux = config.get("linux", {})
    in_user_namespace = any(each["type"] == "user" for each in linux.get("namespaces", []))
    devices = {device["path"]: device for device in [*_DEFAULT, *(linux.get("devices") or [])]}
    former = os.umask(0)  # the modes below are exact
    try:
        with step("device nodes that every program expects", spec="runtime-spec config-linux.md#default-devices"):
            for device in devices.values():
                if in_user_namespace:
                    _bind_node(root, device)  # mknod is refused there
                else:
                    _make_node(root, device)
        with step("links in /dev", spec="runtime-spec runtime-linux.md#dev-symbolic-links"):
            for path, target in _LINKS.items():
                paths.make_link(root, path, target)
    finally:
        os.umask(former)


def _make_node(root: int, device: Device) -> None:
    mode = device.get("fileMode", 0o666) & 0o7777
    kind = _KINDS[device["type"]]
    number = 0 if kind == stat.S_IFIFO else os.makedev(device.get("major", 0), device.get("minor", 0))
    uid, gid = device.get("uid", 0), device.get("gid", 0)
    try:
        paths.make_node(root, device["path"], kind, mode, number)
        if uid == gid == 0:
            return
    except FileExistsError:
        pass  # the image brings one: it will do if it is the same device
    node = paths.open_in_root(root, device["path"], os.O_PATH | os.O_NOFOLLOW)
    try:
        found = os.fstat(node)
        if (stat.S_IFMT(found.st_mode), found.st_rdev) != (kind, number):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), device["path"])
        os.chown(paths.through(node), uid, gid)
        os.chmod(paths.through(node), mode)
    finally:
        os.close(node)


def _bind_node(root: int, device: Device) -> None:
    target = paths.make_file(root, device["path"])
    mount(device["path"], paths.through(target), "", MS.BIND)
    os.close(target)


def bind_console(slave: int) -> None:
    """Put the terminal behind *slave* at /dev/console; the container's root is already /."""
    if not os.path.lexists("/dev/console"):
        os.close(os.open("/dev/console", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    mount(paths.through(slave), "/dev/console", "", MS.BIND)
