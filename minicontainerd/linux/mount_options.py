"""The words of a mount's options, as in fstab and in config.json, turned into the kernel's flags.

A list like ``["rbind", "ro", "rprivate", "size=64k"]`` mixes four things that the kernel wants apart::

    ro, nosuid, bind, ...      set or clear a flag of mount(2); the later word wins over the earlier
    rprivate, slave, ...       propagation: each its own call of mount(2), afterwards
    rro, rnosuid, ...          attributes of the mount and all below it: mount_setattr(2), afterwards
    size=64k, mode=755, ...    anything else: text for the filesystem, joined by commas

The table is that of the runtime-spec, which is also what containerd and runc accept.
Source: runtime-spec 1.3 config.md#linux-mount-options; containerd@301026e core/mount/mount_linux.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .mount import ATTR, MS

_SET = {
    "bind": MS.BIND,
    "rbind": MS.BIND | MS.REC,
    "dirsync": MS.DIRSYNC,
    "iversion": MS.I_VERSION,
    "lazytime": MS.LAZYTIME,
    "mand": MS.MANDLOCK,
    "noatime": MS.NOATIME,
    "nodev": MS.NODEV,
    "nodiratime": MS.NODIRATIME,
    "noexec": MS.NOEXEC,
    "nosuid": MS.NOSUID,
    "nosymfollow": MS.NOSYMFOLLOW,
    "relatime": MS.RELATIME,
    "remount": MS.REMOUNT,
    "ro": MS.RDONLY,
    "silent": MS.SILENT,
    "strictatime": MS.STRICTATIME,
    "sync": MS.SYNCHRONOUS,
}
_CLEAR = {
    "async": MS.SYNCHRONOUS,
    "atime": MS.NOATIME,
    "dev": MS.NODEV,
    "diratime": MS.NODIRATIME,
    "exec": MS.NOEXEC,
    "loud": MS.SILENT,
    "noiversion": MS.I_VERSION,
    "nolazytime": MS.LAZYTIME,
    "nomand": MS.MANDLOCK,
    "norelatime": MS.RELATIME,
    "nostrictatime": MS.STRICTATIME,
    "rw": MS.RDONLY,
    "suid": MS.NOSUID,
    "symfollow": MS.NOSYMFOLLOW,
}
PROPAGATION = {
    "private": MS.PRIVATE,
    "rprivate": MS.PRIVATE | MS.REC,
    "rshared": MS.SHARED | MS.REC,
    "rslave": MS.SLAVE | MS.REC,
    "runbindable": MS.UNBINDABLE | MS.REC,
    "shared": MS.SHARED,
    "slave": MS.SLAVE,
    "unbindable": MS.UNBINDABLE,
}
# What is set, and what is cleared first. Access time is one field of three values; relatime is its zero.
_RECURSIVE = {
    "rro": (ATTR.RDONLY, ATTR(0)),
    "rrw": (ATTR(0), ATTR.RDONLY),
    "rnosuid": (ATTR.NOSUID, ATTR(0)),
    "rsuid": (ATTR(0), ATTR.NOSUID),
    "rnodev": (ATTR.NODEV, ATTR(0)),
    "rdev": (ATTR(0), ATTR.NODEV),
    "rnoexec": (ATTR.NOEXEC, ATTR(0)),
    "rexec": (ATTR(0), ATTR.NOEXEC),
    "rnodiratime": (ATTR.NODIRATIME, ATTR(0)),
    "rdiratime": (ATTR(0), ATTR.NODIRATIME),
    "rrelatime": (ATTR(0), ATTR.ATIME_FIELD),
    "rnorelatime": (ATTR(0), ATTR.ATIME_FIELD),
    "rnoatime": (ATTR.NOATIME, ATTR.ATIME_FIELD),
    "ratime": (ATTR(0), ATTR.ATIME_FIELD),
    "rstrictatime": (ATTR.STRICTATIME, ATTR.ATIME_FIELD),
    "rnostrictatime": (ATTR(0), ATTR.ATIME_FIELD),
    "rnosymfollow": (ATTR.NOSYMFOLLOW, ATTR(0)),
    "rsymfollow": (ATTR(0), ATTR.NOSYMFOLLOW),
}
_RUNTIME_ONLY = {"defaults", "tmpcopyup", "idmap", "ridmap"}

WORDS = frozenset({*_SET, *_CLEAR, *PROPAGATION, *_RECURSIVE, *_RUNTIME_ONLY})
"""Every word with a meaning of its own; all else is data for the filesystem."""


class MountOptions(NamedTuple):
    """The four parts, and the words that only a container runtime knows (``tmpcopyup``, ``idmap``, ``ridmap``)."""

    flags: MS = MS(0)
    propagation: tuple[MS, ...] = ()
    recursive_set: ATTR = ATTR(0)
    recursive_clear: ATTR = ATTR(0)
    data: str = ""
    words: frozenset[str] = frozenset()

    @property
    def is_bind(self) -> bool:
        return bool(self.flags & MS.BIND)

    @property
    def remount_flags(self) -> MS:
        """What a bind mount has to be remounted with, for the flags that the first call ignores; 0 if none."""
        return self.flags & ~(MS.BIND | MS.REC | MS.REMOUNT)


def parse_mount_options(options: Iterable[str], fstype: str = "") -> MountOptions:
    """Sort *options* into flags, propagation, recursive attributes and data; the *fstype* "bind" is an option too.

    >>> parse_mount_options(["rbind", "ro", "rslave"]).flags == MS.BIND | MS.REC | MS.RDONLY
    True
    >>> parse_mount_options(["ro"], "bind").is_bind, parse_mount_options(["ro"], "bind").remount_flags == MS.RDONLY
    (True, True)
    >>> parse_mount_options(["ro", "rw", "mode=755", "size=64k"])
    MountOptions(flags=<MS: 0>, propagation=(), recursive_set=<ATTR: 0>, recursive_clear=<ATTR: 0>, data='mode=755,size=64k', words=frozenset())
    """  # noqa: E501
    flags, propagation, data, words = MS.BIND if fstype == "bind" else MS(0), [], [], set()
    attributes, cleared = ATTR(0), ATTR(0)
    for option in options:
        if option in _SET:
            flags |= _SET[option]
        elif option in _CLEAR:
            flags &= ~_CLEAR[option]
        elif option in PROPAGATION:
            propagation.append(PROPAGATION[option])
        elif option in _RECURSIVE:
            set_, clear = _RECURSIVE[option]
            attributes = (attributes & ~clear) | set_
            cleared = (cleared & ~set_) | clear
        elif option in _RUNTIME_ONLY:
            words.add(option)
        elif option:
            data.append(option)
    return MountOptions(flags, tuple(propagation), attributes, cleared, ",".join(data), frozenset(words))
