"""Fork straight into a cgroup and into new namespaces: clone3(2) with CLONE_INTO_CGROUP and CLONE_NEW*.

To move a process that exists, the kernel has to hold back every fork on the machine for a moment, and waits for all
processors to notice: 14 ms were measured on two. A child that is born in its group needs none of that. And a child
that is born in a new pid namespace needs no second fork, as unshare(2) would, which moves only later children.

Python has no clone3. What :func:`os.fork` does besides the system call is public in C, PyOS_BeforeFork and its two
counterparts, so it is done here around the call. It must be one call that holds the interpreter's lock throughout,
which is what :class:`ctypes.PyDLL` is for. The caller must have one thread: the C library's own preparations for
fork are left out.
"""

from __future__ import annotations

import ctypes
import os
import signal

from .libc import os_error
from .namespaces import ANY, CLONE
from .tell import act

_CLONE3 = 435
_CLONE_INTO_CGROUP = 0x200000000

_holding_lock = ctypes.PyDLL(None, use_errno=True)
_holding_lock.syscall.restype = ctypes.c_long


class _CloneArgs(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    ]


@act("clone3(2)")
def fork_into(cgroup: str, create: CLONE = ANY) -> int:
    """Fork; the child, in which this returns 0, is in the group whose folder is *cgroup* from its first moment.

    So it is in the namespaces that *create* names, which are made for it.

    Raises:
        FileNotFoundError: there is no such group.
        OSError: EBUSY, the group hands controllers down, so it may have no processes; EPERM, the call is filtered;
            ENOSYS, E2BIG, a kernel before 5.7.
    """
    folder = os.open(cgroup, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    python = ctypes.pythonapi
    try:
        arguments = _CloneArgs(flags=_CLONE_INTO_CGROUP | create, exit_signal=signal.SIGCHLD, cgroup=folder)
        pointer, size = ctypes.byref(arguments), ctypes.c_size_t(ctypes.sizeof(arguments))
        python.PyOS_BeforeFork()
        pid = int(_holding_lock.syscall(ctypes.c_long(_CLONE3), pointer, size))
        if pid == 0:
            python.PyOS_AfterFork_Child()
        else:
            code = ctypes.get_errno()
            python.PyOS_AfterFork_Parent()
            ctypes.set_errno(code)
        if pid == -1:
            raise os_error("clone3(2)", cgroup)
    finally:
        os.close(folder)
    return pid
