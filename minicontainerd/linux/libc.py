"""How this room reaches the kernel: the C library through ctypes, and an errno turned into Python's exception.

Python's :mod:`os` knows many system calls, and those are used from there. The rest is declared one by one in
the files beside this one: the prototype once, at import, and one Python function around it. ``use_errno`` makes
ctypes keep a private copy of errno per thread, taken right after each call, so that nothing in between changes it.
"""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def os_error(call: str, *paths: str) -> OSError:
    """Translate the errno that *call* just left behind into Python's exception for it.

    *call* is named like its manual page, ``mount(2)``; it ends up as a note under the traceback.
    """
    code = ctypes.get_errno()  # read it first: the next ctypes call overwrites it
    error = OSError(code, os.strerror(code), *paths[:1])  # EPERM arrives as PermissionError, and so on
    error.add_note(f"system call: {call}")
    return error
