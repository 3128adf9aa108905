"""Control groups, version 2: a folder is a group of processes, its files are what is known of it and its limits.

::

    cgroup.procs            write a pid here to move that process in; read who is here
    cgroup.freeze           1 stops every process of the group, 0 lets it go on
    cgroup.kill             1 kills every process of the group, however fast it forks
    cgroup.events           "populated 0|1", "frozen 0|1"
    cgroup.controllers      which controllers this group may use: cpu, memory, pids, io, ...
    cgroup.subtree_control  which of them its children may use
    memory.max, pids.max    the limits of one controller, there only when the parent handed that controller down

Where the tree is, only /proc/self/mountinfo knows. On a *unified* host it has every controller. On a *hybrid* host
version 1 owns the controllers, and the version 2 tree beside them is bare: it still tracks, freezes and kills.
Nothing here decides a limit; run/cgroups.py does. Source: Linux Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import functools
import os

from .kernel_file import write_setting
from .mountinfo import mountinfo
from .tell import act


@functools.cache
def tree() -> str:
    """The folder where the version 2 tree is mounted; where it was found once, it is taken to stay.

    Raises:
        FileNotFoundError: this host has version 1 only.
    """
    for mount in mountinfo():
        if mount.fstype == "cgroup2" and mount.root == "/":
            return mount.target
    raise FileNotFoundError("no cgroup2 filesystem is mounted; see /proc/self/mountinfo")


def layout() -> str:
    """``unified``, ``hybrid`` or ``v1``: for error messages that tell what the host is like."""
    kinds = {mount.fstype for mount in mountinfo() if mount.fstype in ("cgroup", "cgroup2")}
    return "unified" if kinds == {"cgroup2"} else "hybrid" if "cgroup2" in kinds else "v1"


def own(pid: int | str = "self") -> str:
    """The group that process *pid* is in, as a path from the tree's root: ``/user.slice``.

    Raises:
        FileNotFoundError: there is no such process, or no version 2 tree.
    """
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        for line in file:
            if line.startswith("0::"):
                return line[3:].rstrip("\n").removesuffix(" (deleted)")
    raise FileNotFoundError(f"process {pid} is in no version 2 cgroup")


def controllers(folder: str) -> list[str]:
    """The controllers that the group *folder* may use."""
    return read(folder, "cgroup.controllers").split()


def read(folder: str, name: str) -> str:
    """The text of one file of the group, without its last newline."""
    with open(f"{folder}/{name}", encoding="ascii") as file:
        return file.read().rstrip("\n")


@act("cgroups(7)")
def write(folder: str, name: str, text: str) -> None:
    """Write one file of the group.

    Raises:
        FileNotFoundError: the group is gone, or the controller of this file is not handed down to it.
        OSError: EINVAL, the kernel does not accept the value; EBUSY, handing down a controller from a group that
            has processes of its own.
    """
    write_setting(f"{folder}/{name}", text)


@act("cgroups(7)")
def create(folder: str) -> None:
    """Make the group *folder* and those above it that are missing."""
    os.makedirs(folder, exist_ok=True)


def delegated_files() -> list[str]:
    """The files that whoever a group is given to needs, as this kernel lists them; none before Linux 4.15."""
    try:
        with open("/sys/kernel/cgroup/delegate", encoding="ascii") as file:
            return file.read().split()
    except FileNotFoundError:
        return []


@act("chown(2)")
def give(folder: str, name: str, uid: int) -> None:
    """Make *uid* the owner of the file *name* of the group, or of its folder if that is empty; none there is fine."""
    try:
        os.chown(os.path.join(folder, name), uid, -1)
    except FileNotFoundError:
        pass  # listed for controllers that this group may not have


@act("cgroups(7)")
def remove(folder: str) -> None:
    """Remove the group and the groups below it, deepest first; none there is fine.

    Raises:
        OSError: EBUSY, a process is still in it.
    """
    for inner, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(inner)
        except FileNotFoundError:
            pass  # somebody else was faster


def hand_down(root: str, folder: str) -> list[str]:
    """Let *folder* use every controller that its ancestors below *root* can give; the names it ends up with.

    A group with processes of its own cannot hand controllers down (EBUSY); then what is above stays as it is.
    """
    inner = os.path.relpath(folder, root).split("/")
    for depth in range(len(inner)):
        above = os.path.join(root, *inner[:depth])
        wanted = set(controllers(above)) - set(read(above, "cgroup.subtree_control").split())
        for controller in sorted(wanted):
            try:
                write(above, "cgroup.subtree_control", f"+{controller}")
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP):
                    raise
    return controllers(folder)


def processes(folder: str) -> list[int]:
    """The processes in the group and in those below it; none if the group is gone."""
    pids: set[int] = set()
    for inner, _, _ in os.walk(folder):
        try:
            pids.update(int(line) for line in read(inner, "cgroup.procs").split())
        except OSError as error:
            # EOPNOTSUPP: a threaded group lists its processes at its domain, which is above.
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
                raise
    return sorted(pids)


def events(folder: str) -> dict[str, int]:
    """The counters of a flat keyed file: cgroup.events.

    >>> parse_flat("populated 1\\nfrozen 0")
    {'populated': 1, 'frozen': 0}
    """
    return parse_flat(read(folder, "cgroup.events"))


UNLIMITED = 2**64 - 1
"""What ``max`` is for those who want a number."""


def number(folder: str, name: str) -> int | None:
    """The one number in a file of the group; None where there is no such controller, or the group is gone."""
    try:
        text = read(folder, name)
    except OSError:
        return None
    return UNLIMITED if text == "max" else int(text) if text else None


def flat(folder: str, name: str) -> dict[str, int]:
    """The numbers of a flat keyed file by their keys; none where there is no such controller."""
    try:
        return parse_flat(read(folder, name))
    except OSError:
        return {}


def oom_kills(folder: str) -> int:
    """How often the OOM killer has killed in the group."""
    return flat(folder, "memory.events").get("oom_kill", 0)


def io(folder: str) -> list[tuple[int, int, dict[str, int]]]:
    """What was read and written, by device: major and minor number, then io.stat's own keys (rbytes, wios, ...)."""
    try:
        lines = [line.split() for line in read(folder, "io.stat").splitlines()]
    except OSError:
        return []
    found = []
    for device, *pairs in lines:
        major, minor = map(int, device.split(":"))
        found.append((major, minor, {key: int(value) for key, value in (pair.split("=") for pair in pairs)}))
    return found


def parse_flat(text: str) -> dict[str, int]:
    """``key number`` lines, as in cgroup.events, memory.stat and cpu.stat."""
    return {key: int(value) for key, value in (line.split() for line in text.splitlines())}
