"""Files that are not files: settings of the kernel under /proc, /sys and in cgroups.

Writing one is a call in disguise. The text must arrive in a single write(2), the file must not be created or cut
short, and the error is the kernel's answer to the value. Python's buffered files do neither well.

In a container, what is called /proc is the image's word. :func:`write_proc` writes where the name may lie.
"""

from __future__ import annotations

import ctypes
import errno
import os

from ..errors import InvalidArgument
from .files import Resolve, openat2
from .libc import libc, os_error

_PROC_SUPER_MAGIC, _PROC_ROOT_INO = 0x9FA0, 1
_DOTS_AND_SLASHES = str.maketrans("./", "/.")
_fstatfs = libc.fstatfs
_fstatfs.argtypes = [ctypes.c_int, ctypes.c_char_p]


def write_setting(path: str, text: str) -> None:
    """Give the kernel's file *path* the value *text*, in one write(2).

    Raises:
        FileNotFoundError: this kernel, or this cgroup, has no such setting.
        OSError: EINVAL and others, the kernel refuses the value.
    """
    _write(os.open(path, os.O_WRONLY | os.O_CLOEXEC), path, text)


def sysctl_path(name: str) -> str:
    """Where below /proc/sys the parameter *name* is. Its first separator, dot or slash, is the one that separates.

    The other is then part of a name, as in an interface's: there a slash stands for a dot. Source: sysctl.d(5).

    Raises:
        InvalidArgument: it would lead elsewhere.

    >>> sysctl_path("net.ipv4.conf.eth0/100.forwarding"), sysctl_path("net/ipv4/conf/eth0.100/forwarding")
    ('net/ipv4/conf/eth0.100/forwarding', 'net/ipv4/conf/eth0.100/forwarding')
    """
    by_slashes = "/" in name.partition(".")[0]
    path = name if by_slashes else name.translate(_DOTS_AND_SLASHES)
    if not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise InvalidArgument(f'sysctl "{name}" is not the name of a parameter')
    return path


def write_proc(name: str, text: str) -> None:
    """Give the file *name*, a path beneath /proc, the value *text*, if it is the kernel's file.

    Another file there, even another one of the kernel's, could have the container's configuration written to it, or
    let it come to nothing (CVE-2019-19921, CVE-2025-52881).

    Raises:
        FileNotFoundError: this kernel has no such setting, or there is no /proc.
        OSError: EINVAL, what is at /proc is something else; EXDEV, something is mounted over the file; and others,
            the kernel refuses the value.
    """
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _expect_proc(proc)
        descriptor = openat2(proc, name, os.O_WRONLY, Resolve.BENEATH | Resolve.NO_XDEV | Resolve.NO_MAGICLINKS)
    finally:
        os.close(proc)
    _write(descriptor, f"/proc/{name}", text)


def _write(descriptor: int, path: str, text: str) -> None:
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)


def _expect_proc(descriptor: int) -> None:
    """Raise unless *descriptor* is the root of a file system of type proc: statfs(2)."""
    about = ctypes.create_string_buffer(256)
    if _fstatfs(descriptor, about) == -1:
        raise os_error("fstatfs(2)", "/proc")
    is_proc = ctypes.c_long.from_buffer(about).value == _PROC_SUPER_MAGIC
    if not is_proc or os.fstat(descriptor).st_ino != _PROC_ROOT_INO:
        raise OSError(errno.EINVAL, "what is at /proc is not the kernel's")
