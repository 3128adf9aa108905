"""The interpreter out of reach: why a container cannot overwrite the host's Python (the class of CVE-2019-5736).

Until execve, init and the processes of ``exec`` run the host's interpreter inside the container, and a process's
program is a file that others can open: ``/proc/PID/exe``. An image whose program is ``/proc/self/exe`` even has the
host's interpreter run again, with the image's libraries. Who holds that file open waits until nobody runs it, and
writes; the next container is then started by the attacker's code, as root, on the host.

Two things stand against it:

- The runtime executes itself once more, from a mount of its own: the interpreter's file alone, cloned by open_tree(2),
  attached nowhere, read-only. ``/proc/PID/exe`` leads to the file by that mount, so no open for writing succeeds, for
  anybody. Belonging to no mount namespace, it can be neither remounted nor cloned, even with CAP_SYS_ADMIN. It is gone
  with the last process that runs from it.
- The child makes itself not dumpable before it enters a namespace (child.py). Until its execve, /proc/PID/exe, fd,
  root, cwd and mem are closed to a container's processes, except to those with CAP_SYS_PTRACE on the host.

Not covered: a container that has CAP_SYS_PTRACE and no user namespace can trace a process of ``exec`` before its
execve. It is trusted with the host by whoever granted that, and the same holds for runc. Nor a kernel before 5.12, or a
caller without CAP_SYS_ADMIN, where the second means is the only one.

The price is one more start of Python. Whoever forks containers calls :func:`enter` first: minirunc's create, run and
exec, and the shim's start. Source: runc@76d9cf5 libcontainer/exeseal, which takes an overlay or a sealed copy.
"""

from __future__ import annotations

import os
import sys

from ..linux.readonly import readonly_clone

_OWN = "/proc/self/exe"


def enter() -> None:
    """Execute this program again from a read-only mount of the interpreter; returns if that is so, or cannot be."""
    if is_sheltered():
        _restore_name()
        return
    try:
        # Python finds its libraries, and a virtual environment, by the first word: that stays as it was.
        os.execve(readonly_clone(os.readlink(_OWN)), [sys.executable, *sys.orig_argv[1:]], os.environ)
    except OSError:
        return  # ENOSYS, EPERM: see above


def is_sheltered() -> bool:
    """Whether the interpreter's file, as it is reached from this process, is on a read-only mount."""
    return bool(os.statvfs(_OWN).f_flag & os.ST_RDONLY)


def _restore_name() -> None:
    """The kernel has called this process by the number of a descriptor; people know it by its program."""
    with open("/proc/self/comm", "w", encoding="utf-8") as file:
        file.write(os.path.basename(sys.argv[0])[:15])
