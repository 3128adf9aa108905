"""AppArmor: which profile a process is confined by, a list of what it may do with which files.

Profiles are loaded into the kernel by ``apparmor_parser`` and have names. A process asks for one by writing to a file
of its own in /proc; with ``exec`` before the name, the change comes with its next execve, and not before.
Source: Linux Documentation/admin-guide/LSM/apparmor.rst, security/apparmor/lsm.c of 6.1.
"""

from __future__ import annotations

import ctypes
import errno
import os

from .libc import libc, os_error
from .tell import act

_PROC_SUPER_MAGIC = 0x9FA0
_fstatfs = libc.fstatfs
_fstatfs.argtypes = [ctypes.c_int, ctypes.c_char_p]


def is_enabled() -> bool:
    """Does this kernel confine by AppArmor?"""
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            return file.read().startswith("Y")
    except FileNotFoundError:
        return False


@act("aa_change_onexec(2)")
def change_on_exec(profile: str) -> None:
    """From the next execve on, be confined by *profile*.

    Raises:
        FileNotFoundError: no such profile is loaded, or there is no /proc.
        OSError: EINVAL, what is at /proc is something else: a program may put a file there to stay unconfined.
    """
    descriptor = os.open("/proc/thread-self/attr/exec", os.O_WRONLY | os.O_CLOEXEC)
    try:
        expect_proc(descriptor)
        os.write(descriptor, f"exec {profile}".encode())
    finally:
        os.close(descriptor)


def expect_proc(descriptor: int) -> None:
    """Raise unless *descriptor* is a file of the kernel's, in a file system of type proc: statfs(2).

    Raises:
        OSError: EINVAL, it is something else.
    """
    about = ctypes.create_string_buffer(256)
    if _fstatfs(descriptor, about) == -1:
        raise os_error("fstatfs(2)")
    if ctypes.c_long.from_buffer(about).value != _PROC_SUPER_MAGIC:
        raise OSError(errno.EINVAL, "what is at /proc is not the kernel's")
