"""How this room reaches the kernel: the C library through ctypes, and an errno turned into Python's exception.

Python's :mod:`os` knows many system calls, and those are used from there. The rest is declared one by one in
the files beside this one: the prototype once, at import, and one Python function around it. ``use_errno`` makes
ctypes keep a private copy of errno per thread, taken right after each call, so that nothing in between changes it.

The newest calls have no function in the C library of Debian 12. They go through syscall(2) by number. Numbers
above 423 are the same on every architecture; the few older ones are in :data:`NUMBERS`.
"""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

NUMBERS = {
    "x86_64": {"pivot_root": 155, "add_key": 248, "keyctl": 250, "seccomp": 317, "bpf": 321},
    "aarch64": {"pivot_root": 41, "add_key": 217, "keyctl": 219, "seccomp": 277, "bpf": 280},
}.get(os.uname().machine, {})


def syscall(number: int, *arguments: int | bytes | ctypes.c_void_p | ctypes.Array[ctypes.c_char] | None) -> int:
    """syscall(2): -1 when it failed, with errno left for :func:`os_error`. Integers are passed 64 bits wide."""
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return int(libc.syscall(ctypes.c_long(number), *wide))


def os_error(call: str, *paths: str) -> OSError:
    """Translate the errno that *call* just left behind into Python's exception for it.

    *call* is named like its manual page, ``mount(2)``; it ends up as a note under the traceback.
    """
    code = ctypes.get_errno()  # read it first: the next ctypes call overwrites it
    error = OSError(code, os.strerror(code), *paths[:1])  # EPERM arrives as PermissionError, and so on
    error.add_note(f"system call: {call}")
    return error
