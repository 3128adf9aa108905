"""Mounts: the calls that build and change the tree of filesystems a process sees.

Linux has two generations of them, and both are needed here::

    mount(2) umount2(2) pivot_root(2)     attach, change or detach, by path
    open_tree(2) move_mount(2)            take a mount in hand as a descriptor, then put it somewhere
    mount_setattr(2)                      change the flags of a whole subtree at once, which mount(2) cannot

One trap decides how callers look: for a bind mount, mount(2) ignores every flag but MS_REC. A read-only bind mount
takes two calls, the bind and then ``MS_REMOUNT | MS_BIND | MS_RDONLY``. And changing propagation (shared, slave,
private, unbindable) is a call of its own, where all other flags are ignored as well.

Read next: mount_options.py, which turns the words of a config.json into these flags.
"""

from __future__ import annotations

import ctypes
import enum
import os

from .libc import NUMBERS, libc, os_error, syscall
from .tell import act
from .tell import descriptor as open_on

_mount = libc.mount
_mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_umount2 = libc.umount2
_umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40
_AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 0x1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC

DATA_LIMIT = 4096
"""Bytes of option text that mount(2) reads, with the closing NUL: one page."""


class MS(enum.IntFlag):
    """Flags of mount(2), from linux/mount.h."""

    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    SYNCHRONOUS = 16
    REMOUNT = 32
    MANDLOCK = 64
    DIRSYNC = 128
    NOSYMFOLLOW = 256
    NOATIME = 1024
    NODIRATIME = 2048
    BIND = 4096
    MOVE = 8192
    REC = 16384
    SILENT = 32768
    UNBINDABLE = 1 << 17
    PRIVATE = 1 << 18
    SLAVE = 1 << 19
    SHARED = 1 << 20
    RELATIME = 1 << 21
    I_VERSION = 1 << 23
    STRICTATIME = 1 << 24
    LAZYTIME = 1 << 25


class MNT(enum.IntFlag):
    """Flags of umount2(2)."""

    FORCE = 1
    DETACH = 2
    EXPIRE = 4
    NOFOLLOW = 8


class ATTR(enum.IntFlag):
    """Attributes of mount_setattr(2). The three access-time modes are one field, 0x70, not three bits."""

    RDONLY = 0x1
    NOSUID = 0x2
    NODEV = 0x4
    NOEXEC = 0x8
    NOATIME = 0x10
    STRICTATIME = 0x20
    ATIME_FIELD = 0x70
    NODIRATIME = 0x80
    IDMAP = 0x100000
    NOSYMFOLLOW = 0x200000


@act("mount(2)")
def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """Attach a filesystem at *target*, or change what is attached there: mount(2).

    The kernel reads at most :data:`DATA_LIMIT` bytes of *data*, and says nothing about the rest.

    Raises:
        PermissionError: EPERM, no CAP_SYS_ADMIN in the user namespace owning this mount namespace; or, in a
            user namespace, a flag to be cleared is locked.
        FileNotFoundError: ENOENT, *target* is missing, or a directory named in *data* is.
        OSError: EINVAL, the filesystem does not know an option; ENODEV, the kernel has no such filesystem;
            EBUSY, a read-only remount meets files open for writing.
    """
    source_, target_, options = os.fsencode(source), os.fsencode(target), os.fsencode(data)
    if _mount(source_, target_, fstype.encode(), int(flags), options) == -1:
        raise os_error("mount(2)", target)


@act("umount2(2)")
def umount(target: str, flags: int = 0) -> None:
    """Detach the topmost filesystem at *target*: umount2(2).

    Raises:
        OSError: EINVAL, *target* is not a mount point (or is locked); EBUSY, it is in use and MNT.DETACH not set.
    """
    if _umount2(os.fsencode(target), int(flags)) == -1:
        raise os_error("umount2(2)", target)


@act("pivot_root(2)")
def pivot_root(new_root: str, put_old: str) -> None:
    """Make the mount at *new_root* the root of this mount namespace and put the old root at *put_old*.

    ``pivot_root(".", ".")`` is allowed and useful: the old root then lies on top of the new one, to be detached.

    Raises:
        OSError: EINVAL, *new_root* is not a mount point, or the parent of either mount is shared; EBUSY, it is
            the root already.
    """
    if syscall(NUMBERS["pivot_root"], os.fsencode(new_root), os.fsencode(put_old)) == -1:
        raise os_error("pivot_root(2)", new_root)


@act("open_tree(2)")
def open_tree(path: str, *, clone: bool = False, recursive: bool = False, directory: int = -100) -> int:
    """A descriptor of the mount at *path*; with *clone*, of a detached private copy, to be placed by move_mount.

    Raises:
        PermissionError: EPERM, *clone* without CAP_SYS_ADMIN.
    """
    flags = _OPEN_TREE_CLOEXEC | (OPEN_TREE_CLONE if clone else 0) | (AT_RECURSIVE if recursive else 0)
    if not path:
        flags |= _AT_EMPTY_PATH
    tree = syscall(_OPEN_TREE, directory, os.fsencode(path), flags)
    if tree == -1:
        raise os_error("open_tree(2)", path)
    return tree


@act("move_mount(2)", tree=open_on, target=open_on)
def move_mount(tree: int, target: int) -> None:
    """Attach the detached mount *tree* (of :func:`open_tree`) on the open file or folder *target*.

    Raises:
        OSError: EINVAL, *target* lies in a mount whose propagation does not allow it, or *tree* is attached;
            ENOTDIR, a file over a folder, or the other way round.
    """
    if syscall(_MOVE_MOUNT, tree, b"", target, b"", _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH) == -1:
        raise os_error("move_mount(2)")


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns_fd")]


@act("mount_setattr(2)")
def mount_setattr(
    tree: int, *, set: int = 0, clear: int = 0, propagation: int = 0, userns: int = -1, recursive: bool = False
) -> None:
    """Change attributes (:class:`ATTR`) of the mount behind descriptor *tree*, and of all below it if *recursive*.

    All or nothing: when one mount of the subtree refuses, none is changed. With ``ATTR.IDMAP``, *userns* is the
    descriptor of the user namespace whose mapping applies.

    Raises:
        OSError: EINVAL, an unknown attribute, or access-time bits set without the whole field cleared; ENOSYS,
            Linux before 5.12.
    """
    attr = _MountAttr(int(set), int(clear), int(propagation), max(userns, 0))
    flags = _AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    pointer = ctypes.cast(ctypes.pointer(attr), ctypes.c_void_p)
    if syscall(_MOUNT_SETATTR, tree, b"", flags, pointer, ctypes.sizeof(attr)) == -1:
        raise os_error("mount_setattr(2)")
