"""Namespaces: which of the kernel's tables a process sees.

::

    mount     the tree of filesystems         pid      process numbers, from 1
    network   interfaces, routes, ports       ipc      System V IPC, POSIX message queues
    uts       host name and domain name       user     user and group numbers, capabilities
    cgroup    what its own cgroup looks like  time     offsets of the monotonic and boot clocks

A namespace lives as long as a process is in it, or a descriptor or bind mount of its file /proc/PID/ns/NAME is kept.
Two calls move a process: unshare(2) into a new one, setns(2) into one that exists. Of these, ``pid`` and ``time``
are special: they apply to children made later, never to the caller, whose own number must not change.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import errno
import fcntl
import os
from collections.abc import Iterator

from .libc import libc, os_error
from .tell import act
from .tell import descriptor as open_on


class CLONE(enum.IntFlag):
    """Flags of unshare(2), setns(2) and clone(2), from linux/sched.h."""

    NEWTIME = 0x80
    FS = 0x200
    NEWNS = 0x20000  # mount: it was the first of them, and nobody thought of others
    NEWCGROUP = 0x2000000
    NEWUTS = 0x4000000
    NEWIPC = 0x8000000
    NEWUSER = 0x10000000
    NEWPID = 0x20000000
    NEWNET = 0x40000000


FLAGS = {
    "user": CLONE.NEWUSER,
    "cgroup": CLONE.NEWCGROUP,
    "ipc": CLONE.NEWIPC,
    "uts": CLONE.NEWUTS,
    "network": CLONE.NEWNET,
    "pid": CLONE.NEWPID,
    "mount": CLONE.NEWNS,
    "time": CLONE.NEWTIME,
}
"""The runtime-spec's words, in the order to join them: ``user`` first, for it gives the rights over the others."""

FILES = {name: {"network": "net", "mount": "mnt"}.get(name, name) for name in FLAGS}
"""The name of each one's file in /proc/PID/ns."""

_NS_GET_NSTYPE = 0xB703  # _IO(0xb7, 3), linux/nsfs.h

ANY = CLONE(0)
"""No flag: for setns, whichever kind the file is; for a fork, none."""

_libc_unshare = libc.unshare
_libc_unshare.argtypes = [ctypes.c_int]
_libc_setns = libc.setns
_libc_setns.argtypes = [ctypes.c_int, ctypes.c_int]


def names_of(flags: CLONE) -> str:
    """The words for *flags*, for people.

    >>> names_of(CLONE.NEWPID | CLONE.NEWNS)
    'pid mount'
    """
    return " ".join(name for name, flag in FLAGS.items() if flags & flag)


@act("unshare(2)")
def unshare(flags: CLONE) -> None:
    """Leave the namespaces that *flags* name for new ones.

    Raises:
        PermissionError: EPERM, no CAP_SYS_ADMIN; for CLONE.NEWUSER, the caller is in a chroot.
        OSError: EINVAL, the kernel lacks one of them, or CLONE.NEWUSER in a process with threads; ENOSPC, the
            limit in /proc/sys/user is reached.
    """
    if _libc_unshare(int(flags)) == -1:
        raise os_error("unshare(2)")


@act("setns(2)", descriptor=open_on)
def setns(descriptor: int, flags: CLONE = ANY) -> None:
    """Enter the namespace behind *descriptor*, a file of /proc/PID/ns, or those of a pidfd that *flags* name.

    Raises:
        PermissionError: EPERM, not allowed in the target, or a pid namespace that is not below one's own.
        OSError: EINVAL, the descriptor is not of this kind, or a user or mount namespace and the caller has threads.
    """
    if _libc_setns(descriptor, int(flags)) == -1:
        raise os_error("setns(2)")


@contextlib.contextmanager
def inside(descriptor: int) -> Iterator[None]:
    """The calling thread is in the network namespace behind *descriptor* until the block ends.

    Only this thread: others stay where they are, and what it starts or opens in the block belongs to the namespace.

    Raises:
        OSError: as of setns. Not being able to go back is an error too, which nobody should survive.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(descriptor, CLONE.NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE.NEWNET)
    finally:
        os.close(home)


def kind_of(descriptor: int) -> str:
    """The word for the kind of namespace that the file *descriptor* is, ``""`` if it is none: ioctl_ns(2)."""
    try:
        flag = fcntl.ioctl(descriptor, _NS_GET_NSTYPE)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EBADF, errno.EINVAL):
            return ""
        raise
    return names_of(CLONE(flag))


def identity(path: str) -> tuple[int, int]:
    """Device and inode of the namespace file *path*: two names of one namespace have the same."""
    status = os.stat(path)
    return status.st_dev, status.st_ino
