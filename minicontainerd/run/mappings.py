"""Who is who in a user namespace: its mappings, and who may write them.

A new user namespace knows nobody. Until its two files are written, each once, every number in it is 65534::

    /proc/PID/uid_map    0 100000 65536      0 to 65535 inside are 100000 to 165535 outside
    /proc/PID/gid_map    the same for groups
    /proc/PID/setgroups  "deny": no process inside may drop a group, which may be what keeps it from a file

Only somebody outside can write them. The host's root writes what it likes. An ordinary user may map itself, one number
on one line, and its group once setgroups is denied. For the ranges that an administrator lent it in /etc/subuid and
/etc/subgid it asks ``newuidmap`` and ``newgidmap``, two setuid programs that look there.

A user namespace can also be made for its mappings alone, for a mount whose owners are to look different
(sources.py). Source: user_namespaces(7); runc@76d9cf5 libcontainer/nsenter/nsexec.c, ``update_uidmap``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import FailedPrecondition, Unknown
from ..linux import namespaces, process, signals
from ..linux.kernel_file import write_setting
from ..linux.namespaces import CLONE
from ..linux.tell import act, step
from .words import reason

if TYPE_CHECKING:
    from ..oci.runtime import IDMapping

_HELPERS = {"uid_map": "newuidmap", "gid_map": "newgidmap"}


def write(pid: int, uids: list[IDMapping], gids: list[IDMapping]) -> None:
    """Give the user namespace in which *pid* is its mappings.

    Raises:
        FailedPrecondition: they take a helper program that is missing, or that refuses.
        OSError: EINVAL, ranges overlap or there are too many; EPERM, not ours to give away.
    """
    with step("user and group mappings", spec="runtime-spec config-linux.md#user-namespace-mappings"):
        _write(pid, "uid_map", uids)
        if _is_only(gids, os.getegid()) and os.geteuid() != 0:
            write_setting(f"/proc/{pid}/setgroups", "deny")
        _write(pid, "gid_map", gids)


def _write(pid: int, file: str, mappings: list[IDMapping]) -> None:
    own = os.geteuid() if file == "uid_map" else os.getegid()
    if os.geteuid() == 0 or _is_only(mappings, own):
        lines = [f"{each['containerID']} {each['hostID']} {each['size']}\n" for each in mappings]
        write_setting(f"/proc/{pid}/{file}", "".join(lines))
    else:
        numbers = [str(each[key]) for each in mappings for key in ("containerID", "hostID", "size")]
        _ask_helper(_HELPERS[file], pid, numbers)


def _is_only(mappings: list[IDMapping], own: int) -> bool:
    return [(each["hostID"], each["size"]) for each in mappings] == [(own, 1)]


@act("newuidmap(1)")
def _ask_helper(name: str, pid: int, numbers: list[str]) -> None:
    import shutil  # both slow to import, and only for ordinary users with ranges
    import subprocess

    path = shutil.which(name)
    if path is None:
        raise FailedPrecondition(f"mapping more than one's own user takes {name}, which is not installed (uidmap)")
    done = subprocess.run([path, str(pid), *numbers], capture_output=True, text=True, check=False)
    if done.returncode:
        raise FailedPrecondition(f"{name} {' '.join(numbers)} refused: {done.stderr.strip()} (see /etc/subuid, subgid)")


def namespace_for(uids: list[IDMapping], gids: list[IDMapping]) -> int:
    """The descriptor of a new user namespace with these mappings and no process in it.

    Raises:
        Unknown: it could not be made.
    """
    ready, say = os.pipe2(os.O_CLOEXEC)
    pid = process.fork()
    if pid == 0:
        _wait_in_new_namespace(say)
    os.close(say)
    try:
        if not os.read(ready, 1):
            raise Unknown("cannot make a user namespace for the mappings of a mount")
        write(pid, uids, gids)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unknown(f"the mappings of a mount: {reason(error)}") from error
    finally:
        os.close(ready)
        signals.kill(pid, 9)
        os.waitpid(pid, 0)


def _wait_in_new_namespace(say: int) -> None:
    """The child's part: make the namespace, say so, and stay until killed."""
    try:
        namespaces.unshare(CLONE.NEWUSER)
        os.write(say, b"1")
        signals.wait()
    finally:
        os._exit(1)
