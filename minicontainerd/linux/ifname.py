"""Names of network interfaces, which end up in messages to the kernel and in paths below /proc/sys/net.

A file of its own, for those who start often and need no more of the network. Source: dev_valid_name in Linux 6.1
net/core/dev.c.
"""

from __future__ import annotations

from ..errors import InvalidArgument


def check_ifname(name: str) -> None:
    """Refuse a *name* that the kernel would not take for an interface.

    Raises:
        InvalidArgument: it is empty, longer than 15 bytes, or has a slash, a colon or space in it.
    """
    if not 0 < len(name.encode()) < 16 or name in (".", "..") or any(c in "/:\0" or c.isspace() for c in name):
        raise InvalidArgument(f"{name!r} cannot be the name of an interface: 1 to 15 letters, none of them '/' or ':'")
