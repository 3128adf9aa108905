"""A container's cgroup: where it is, what is written to its files (limits.py says what), and whom it belongs to.

On a hybrid host version 1 has the controllers, and a limit's file is not there. Then a value that asks for nothing
(shares of 1024, which every client sends) is passed over, and any other is refused by name: a limit that is not applied
must not look as if it were. Device rules have no file in version 2; linux/bpf.py turns them into a program.

A container that sees its group through a cgroup namespace and a mount it can write to may be a little init system of
its own. Then the folder and the few files that the kernel calls delegated are given to its user: it can make groups
below and move its processes there, and not touch its own limits.

Source: runtime-spec 1.3 config-linux.md#control-groups; the conversions are runc@76d9cf5's, from
vendor/github.com/opencontainers/cgroups.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from ..errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from ..linux import cgroup
from ..linux.mount import MS
from ..linux.mount_options import parse_mount_options
from ..linux.tell import step
from . import device_rules, limits
from .words import reason

if TYPE_CHECKING:
    from ..oci.runtime import Memory, Resources, Spec

_DELEGATED = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")


def folder_of(config: Spec, id: str) -> str:
    """The folder of the container's cgroup: absolute paths count from the tree's root, others from our own group."""
    path = config.get("linux", {}).get("cgroupsPath", "")
    try:
        tree = cgroup.tree()
        base = "/" if path.startswith("/") else cgroup.own()
    except FileNotFoundError as error:
        raise FailedPrecondition(f"no version 2 cgroup tree on this host: {error}") from error
    inner = os.path.normpath("/" + (path or id)).lstrip("/")  # as if rooted: ".." cannot lead out of the tree
    if not inner:
        raise InvalidArgument(f"cgroupsPath {path!r} is the root of the tree")
    return os.path.join(tree, base.lstrip("/"), inner)


def create(folder: str, resources: Resources) -> None:
    """Make the group and set its limits, before any process is in it; that of its tasks comes when one is.

    Raises:
        FailedPrecondition: a limit needs a controller that is not there.
    """
    with step("a cgroup for the container", spec="runtime-spec config-linux.md#control-groups"):
        cgroup.create(folder)
        cgroup.hand_down(cgroup.tree(), folder)
        others: Resources = {"devices": [], **resources}
        others.pop("pids", None)
        if os.geteuid() != 0:
            del others["devices"]  # an ordinary user may load no program, and can open nothing that is not its own
        apply(folder, others)


def is_closed(config: Spec, folder: str) -> bool:
    """Whether the container can do without its group, and *folder* could not be made by us.

    Raises:
        FailedPrecondition: it could not be made, and the container cannot do without it.
    """
    above = os.path.dirname(folder)
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    if os.access(above, os.W_OK) and os.access(f"{above}/cgroup.procs", os.W_OK):
        return False
    linux = config.get("linux", {})
    resources: Resources = linux.get("resources") or {}
    if limits.of(resources):
        raise FailedPrecondition(f"no right to make a cgroup in {above}, and without it no limit can be set")
    if linux.get("cgroupsPath"):
        raise FailedPrecondition(f"no right to make the cgroup of cgroupsPath in {above}")
    return True


def check_unused(folder: str) -> None:
    """A group that is there will do if nobody is in it and it would let a process run.

    Raises:
        FailedPrecondition: it will not do. It is somebody else's: nothing in it may be ended or removed for that.
    """
    if not os.path.isdir(folder):
        return
    if found := cgroup.processes(folder):
        raise FailedPrecondition(f"container's cgroup is not empty: {len(found)} process(es) found")
    if cgroup.events(folder).get("frozen"):
        raise FailedPrecondition("container's cgroup unexpectedly frozen")


def apply(folder: str, resources: Resources) -> None:
    """Write each limit that *resources* asks for.

    Raises:
        FailedPrecondition: its controller is not there; the message names it and the host's layout.
    """
    if not folder:
        raise FailedPrecondition("this container has no cgroup of its own, and so it has no limits")
    _check_usage(folder, resources.get("memory") or {})
    for setting in limits.of(resources):
        _write(folder, setting)
    if "devices" in resources:
        device_rules.enforce(folder, resources["devices"])


def _write(folder: str, setting: limits.Setting) -> None:
    name, text = setting.name, setting.text
    if setting.instead[0] and os.path.exists(f"{folder}/{setting.instead[0]}"):
        name, text = setting.instead
    try:
        for line in text.splitlines():
            cgroup.write(folder, name, line)
    except FileNotFoundError as error:
        if not setting.is_optional:
            raise FailedPrecondition(f"cannot set {name} to {text!r}: {_why_missing(folder, name)}") from error
    except OSError as error:
        raise FailedPrecondition(f"cannot set {name} to {text!r}: {reason(error)} ({folder})") from error


def _why_missing(folder: str, name: str) -> str:
    controller, there = name.partition(".")[0], cgroup.controllers(folder)
    if controller in (*there, "cgroup"):
        return f"this kernel's {controller} controller has no such file"
    layout = f"the host's layout is {cgroup.layout()}; {folder} has: {' '.join(there) or 'none'}"
    return f"this cgroup has no {controller!r} controller ({layout})"


def _check_usage(folder: str, memory: Memory) -> None:
    """With checkBeforeUpdate, refuse a limit below what is in use: the kernel would kill to enforce it."""
    if not memory.get("checkBeforeUpdate"):
        return
    try:
        used = int(cgroup.read(folder, "memory.current"))
        swapped = int(cgroup.read(folder, "memory.swap.current"))
    except FileNotFoundError:
        return
    for word, limit, usage in (("limit", memory.get("limit"), used), ("swap", memory.get("swap"), used + swapped)):
        if limit and 0 < limit < usage:
            raise FailedPrecondition(f"rejecting a memory {word} of {limit}: {usage} is in use")


def give_away(folder: str, config: Spec) -> None:
    """Give the group to the user of the container's process, if it is one that can see and write it.

    Source: runtime-spec 1.3 config-linux.md#cgroup-ownership.
    """
    uid = owner_of(config)
    if uid is None:
        return
    with step("the cgroup is the container's own", spec="runtime-spec config-linux.md#cgroup-ownership"):
        for name in ("", *(cgroup.delegated_files() or _DELEGATED)):
            cgroup.give(folder, name, uid)


def owner_of(config: Spec) -> int | None:
    """Whose the group should be, as the host numbers users; None if it stays the host's."""
    linux = config.get("linux", {})
    namespaces = {each["type"]: each.get("path", "") for each in linux.get("namespaces") or []}
    if namespaces.get("cgroup") != "" or "user" not in namespaces:
        return None
    mounts = [each for each in config.get("mounts") or [] if each.get("type") in ("cgroup", "cgroup2")]
    if not mounts or any(parse_mount_options(each.get("options") or []).flags & MS.RDONLY for each in mounts):
        return None
    uid = config["process"].get("user", {}).get("uid", 0)
    for each in linux.get("uidMappings") or []:
        if 0 <= uid - each["containerID"] < each["size"]:
            return each["hostID"] + uid - each["containerID"]
    return None


def freeze(folder: str, *, frozen: bool, seconds: float = 10.0) -> None:
    """Stop every process of the group, or let them go on, and wait until that is so.

    Raises:
        DeadlineExceeded: it did not happen in *seconds*; a process hangs in the kernel.
    """
    if not folder:
        raise FailedPrecondition("this container has no cgroup of its own, and so it cannot be frozen")
    cgroup.write(folder, "cgroup.freeze", "1" if frozen else "0")
    give_up = time.monotonic() + seconds
    while cgroup.events(folder).get("frozen") != int(frozen):
        if time.monotonic() > give_up:
            raise DeadlineExceeded(f"cgroup {folder} is not {'frozen' if frozen else 'thawed'} after {seconds} s")
        time.sleep(0.001)


def kill(folder: str) -> None:
    """Send SIGKILL to every process of the group and of those below it; a group that is gone has none."""
    if not folder:
        return
    try:
        cgroup.write(folder, "cgroup.kill", "1")
    except FileNotFoundError:
        pass  # never created, or removed by somebody who knew it empty


def remove(folder: str, seconds: float = 10.0) -> None:
    """Remove the group. Killed processes leave it only when they are reaped or nearly so, hence some patience.

    Raises:
        FailedPrecondition: processes are still in it after *seconds*.
    """
    give_up = time.monotonic() + seconds
    while folder:
        try:
            cgroup.remove(folder)
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            if time.monotonic() > give_up:
                raise FailedPrecondition(f"unable to remove container's cgroup: {error}") from error
            time.sleep(0.002)
