"""Bring up ``lo``: a new network namespace has it, but down.

One ioctl on any socket. Python's socket module is slow to import for that, so the C library's functions are used.
"""

from __future__ import annotations

import ctypes
import os
import struct

from .libc import libc, os_error
from .tell import act

_AF_INET, _SOCK_DGRAM, _SOCK_CLOEXEC = 2, 2, 0o2000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 1
_IFREQ = struct.Struct("16sh22x")  # the name, its flags, and the rest of the union


@act("netdevice(7)")
def bring_up(name: str = "lo") -> None:
    """Set the flag IFF_UP of interface *name* in the caller's network namespace.

    Raises:
        PermissionError: EPERM, no CAP_NET_ADMIN there.
        OSError: ENODEV, there is no such interface.
    """
    descriptor = libc.socket(_AF_INET, _SOCK_DGRAM | _SOCK_CLOEXEC, 0)
    if descriptor == -1:
        raise os_error("socket(2)")
    try:
        request = ctypes.create_string_buffer(_IFREQ.pack(name.encode(), 0))
        if libc.ioctl(descriptor, _SIOCGIFFLAGS, request) == -1:
            raise os_error("ioctl(SIOCGIFFLAGS)")
        _, flags = _IFREQ.unpack(request.raw[: _IFREQ.size])
        request = ctypes.create_string_buffer(_IFREQ.pack(name.encode(), flags | _IFF_UP))
        if libc.ioctl(descriptor, _SIOCSIFFLAGS, request) == -1:
            raise os_error("ioctl(SIOCSIFFLAGS)")
    finally:
        os.close(descriptor)
