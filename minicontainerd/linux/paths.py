"""Paths inside a root that is not ours: openat2(2), mkdir and friends that cannot be led outside.

A container's filesystem is written by strangers. If it has ``/proc -> /etc`` as a symbolic link, then mounting at
``rootfs/proc`` by name mounts over the host's ``/etc``. The cure is to let the kernel resolve the name as if the
rootfs were ``/`` (RESOLVE_IN_ROOT), keep the result as a descriptor, and act on ``/proc/self/fd/N``, which means
exactly that file whatever is renamed meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from .libc import os_error, syscall
from .tell import act

_OPENAT2 = 437
_AT_FDCWD = -100
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10


class _OpenHow(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "mode", "resolve")]


@act("openat2(2)")
def open_in_root(root: int, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
    """Open *path* as it is seen by somebody whose ``/`` is the folder *root*; symbolic links stay inside.

    Raises:
        FileNotFoundError, NotADirectoryError: as open(2).
        OSError: ELOOP, too many links, or *flags* has O_NOFOLLOW and the last part is one; EAGAIN, a rename went
            on at the same time, try again.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, RESOLVE_IN_ROOT)
    pointer = ctypes.cast(ctypes.pointer(how), ctypes.c_void_p)
    descriptor = syscall(_OPENAT2, root, os.fsencode(path), pointer, ctypes.sizeof(how))
    if descriptor == -1:
        raise os_error("openat2(2)", path)
    return descriptor


@act("mkdirat(2)")
def make_folders(root: int, path: str, mode: int = 0o755) -> int:
    """An O_PATH descriptor of the folder *path* in *root*, with every missing folder on the way made.

    Raises:
        NotADirectoryError: something on the way is a file.
    """
    descriptor = os.dup(root)
    done = ""
    for part in (part for part in path.split("/") if part not in ("", ".")):
        done += "/" + part
        try:
            deeper = open_in_root(root, done, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            # A dangling symbolic link ends here too: mkdirat then says EEXIST, which is the truth.
            os.mkdir(part, mode, dir_fd=descriptor)
            deeper = open_in_root(root, done, os.O_PATH | os.O_DIRECTORY)
        os.close(descriptor)
        descriptor = deeper
    return descriptor


@act("openat2(2)")
def make_file(root: int, path: str, mode: int = 0o644) -> int:
    """An O_PATH descriptor of *path* in *root*; when missing, an empty file is made there to be mounted over."""
    try:
        return open_in_root(root, path)
    except FileNotFoundError:
        folder = make_folders(root, os.path.dirname(path))
        try:
            os.close(open_in_root(root, path, os.O_CREAT | os.O_WRONLY, mode))
        finally:
            os.close(folder)
        return open_in_root(root, path)


@act("mknodat(2)")
def make_node(root: int, path: str, kind: int, mode: int, device: int) -> None:
    """Make the device or FIFO *path* in *root*; *kind* is stat.S_IFCHR, S_IFBLK or S_IFIFO.

    Raises:
        FileExistsError: EEXIST, something is there.
        PermissionError: EPERM, no CAP_MKNOD, or a user namespace.
    """
    folder = make_folders(root, os.path.dirname(path))
    try:
        os.mknod(os.path.basename(path), kind | mode, device, dir_fd=folder)
    finally:
        os.close(folder)


@act("symlinkat(2)")
def make_link(root: int, path: str, target: str) -> None:
    """Make *path* in *root* a symbolic link to *target*; one that is there stays as it is."""
    folder = make_folders(root, os.path.dirname(path))
    try:
        os.symlink(target, os.path.basename(path), dir_fd=folder)
    except FileExistsError:
        pass  # an image may bring its own
    finally:
        os.close(folder)


def through(descriptor: int) -> str:
    """A path that means the open file *descriptor*, for calls that take only paths."""
    return f"/proc/self/fd/{descriptor}"


def is_folder(descriptor: int) -> bool:
    """Whether *descriptor* is of a folder."""
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def is_missing(error: OSError) -> bool:
    """Whether *error* says that there is nothing at the path."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR)
