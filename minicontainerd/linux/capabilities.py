"""Capabilities: root's power in 41 pieces, held by each thread in five sets.

::

    bounding      the most that execve can ever give; bits can only be dropped
    permitted     what the thread may make effective
    effective     what the kernel checks
    inheritable   what a file with inheritable bits of its own may pass on through execve
    ambient       what survives the execve of an ordinary file; always a subset of permitted and inheritable

An order is forced on whoever drops them: the bounding set first, while CAP_SETPCAP is held; then the user, with
KEEPCAPS; then the three sets of capset(2); ambient last, for it must lie within two of these.

A host may lack some for root too. To give a container "all" can only mean: all that one has oneself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from .libc import libc, os_error
from .process import prctl
from .tell import act

NAMES = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
]
"""Their names; the place in the list is the bit."""

_VERSION_3 = 0x20080522
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_CAP_AMBIENT, _AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 47, 2, 4


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


def mask_of(names: Iterable[str]) -> int:
    """The bits of the capabilities called *names*; names this kernel does not know are left out, as runc does.

    >>> mask_of(["CAP_CHOWN", "CAP_KILL"])
    33
    """
    return sum(1 << NAMES.index(name) for name in {name.upper() for name in names} if name in NAMES)


def names_in(mask: int) -> list[str]:
    """The names of the bits of *mask*.

    >>> names_in(33)
    ['CAP_CHOWN', 'CAP_KILL']
    """
    return [name for bit, name in enumerate(NAMES) if mask >> bit & 1]


def shown(mask: int) -> str:
    """*mask* for a story.

    >>> shown(33), shown(0), shown(mask_of(NAMES))
    ('CHOWN|KILL', 'none', 'all')
    """
    names = [name.removeprefix("CAP_") for name in names_in(mask)]
    return "none" if not names else "all" if len(names) == len(NAMES) else "|".join(names)


def bounding() -> int:
    """The caller's bounding set."""
    return sum(1 << bit for bit in range(len(NAMES)) if libc.prctl(_PR_CAPBSET_READ, bit, 0, 0, 0) == 1)


@act("PR_CAPBSET_DROP(2const)", mask=shown)
def limit_bounding(mask: int) -> None:
    """Drop every capability that is not in *mask* from the bounding set.

    Raises:
        PermissionError: EPERM, CAP_SETPCAP is missing.
    """
    for bit in range(len(NAMES)):
        if not mask >> bit & 1 and libc.prctl(_PR_CAPBSET_READ, bit, 0, 0, 0) == 1:
            prctl(_PR_CAPBSET_DROP, bit, "prctl(PR_CAPBSET_DROP)")


def capget() -> tuple[int, int, int]:
    """The caller's effective, permitted and inheritable sets."""
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    if libc.capget(ctypes.byref(header), data) == -1:
        raise os_error("capget(2)")
    low, high = data[0], data[1]
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


@act("capset(2)", effective=shown, permitted=shown, inheritable=shown)
def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the caller's three sets; *effective* within *permitted*, and *permitted* within what it is now.

    Raises:
        PermissionError: EPERM, a bit would be gained.
    """
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    for half in (0, 1):
        shift = 32 * half
        data[half] = _Data(*(mask >> shift & 0xFFFFFFFF for mask in (effective, permitted, inheritable)))
    if libc.capset(ctypes.byref(header), data) == -1:
        raise os_error("capset(2)")


@act("PR_CAP_AMBIENT(2const)", mask=shown)
def set_ambient(mask: int) -> None:
    """Make *mask* the ambient set.

    Raises:
        PermissionError: EPERM, a bit is not both permitted and inheritable.
    """
    if libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0) == -1:
        raise os_error("prctl(PR_CAP_AMBIENT)")
    for bit in range(len(NAMES)):
        if mask >> bit & 1 and libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, bit, 0, 0) == -1:
            raise os_error("prctl(PR_CAP_AMBIENT)")
