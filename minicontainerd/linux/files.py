"""The verbs of file systems: make, link, remove and describe one directory entry, beneath a directory we hold open.

A path is looked up again by every call that takes one, and whoever controls a directory on the way can change what it
means: a symbolic link in a layer that points to ``/etc`` must not make us write the host's ``/etc``. So a directory
is opened once, by :func:`openat2` under rules that the kernel keeps, and everything after names the open directory
and *one* component in it::

    root ── openat2("usr/lib", RESOLVE_IN_ROOT) ─▶ directory 7      every symbolic link stays beneath root
    mknodat(7, "null", S_IFCHR | 0o666, makedev(1, 3))              one component: nothing left to be tricked by

*directory* is always a descriptor of an open directory (``O_PATH`` is enough), *name* one component that is not
followed if it is a symbolic link. Times are nanoseconds since 1970. Extended attributes have no ``*at`` calls
before Linux 6.13, so theirs go through ``/proc/self/fd/<directory>/<name>``, which the kernel resolves likewise.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import fcntl
import os

from minicontainerd.linux.libc import libc, os_error
from minicontainerd.linux.tell import act, descriptor, device, octal, open_flags

_SYS_OPENAT2 = 437  # the same number on every architecture, as for all calls since 2019
_FICLONE = 0x40049409  # _IOW(0x94, 9, int)


class Resolve(enum.IntFlag):
    """How the components of a path may be looked up: openat2(2)."""

    NO_XDEV = 0x01  # cross no mount point
    NO_MAGICLINKS = 0x02  # follow no /proc/self/fd/N and the like
    NO_SYMLINKS = 0x04  # follow none at all
    BENEATH = 0x08  # an absolute path, or a .. that leads out, is an error
    IN_ROOT = 0x10  # as in a chroot: / and .. at the top mean the starting directory


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@act("openat2(2)", directory=descriptor, flags=open_flags, mode=octal)
def openat2(directory: int, path: str, flags: int, resolve: Resolve, mode: int = 0) -> int:
    """Open *path* beneath *directory* under the rules *resolve*; the descriptor is closed on exec.

    Raises:
        OSError: EXDEV, the path leads out (BENEATH); ELOOP, a link that may not be followed, or too many;
            EAGAIN, a rename raced with a ``..``; ENOSYS, a kernel before 5.6.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    arguments = (directory, os.fsencode(path) or b".", ctypes.byref(how), ctypes.sizeof(how))
    while (descriptor := int(libc.syscall(_SYS_OPENAT2, *arguments))) == -1:
        if ctypes.get_errno() not in (errno.EINTR, errno.EAGAIN):
            raise os_error("openat2(2)", path)
    return descriptor


@act("mkdirat(2)", directory=descriptor, mode=octal)
def mkdirat(directory: int, name: str, mode: int) -> None:
    """Make a directory; the umask takes bits from *mode*, so a chmod follows where they matter."""
    os.mkdir(name, mode, dir_fd=directory)


@act("openat(2)")
def create(directory: int, name: str, mode: int = 0o600) -> int:
    """Make a regular file and open it for writing. Raises FileExistsError (EEXIST) if *name* is anything at all."""
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=directory)


@act("mknodat(2)", directory=descriptor, mode=octal, device=device)
def mknodat(directory: int, name: str, mode: int, device: int = 0) -> None:
    """Make a device node, fifo or socket: *mode* has the type. Devices need CAP_MKNOD in the first user namespace,
    except for character device 0/0, overlayfs's whiteout."""
    os.mknod(name, mode, device, dir_fd=directory)


@act("symlinkat(2)", directory=descriptor)
def symlinkat(target: str, directory: int, name: str) -> None:
    """Make a symbolic link; *target* is text, and is not looked at."""
    os.symlink(target, name, dir_fd=directory)


@act("linkat(2)", from_directory=descriptor, directory=descriptor)
def linkat(from_directory: int, from_name: str, directory: int, name: str) -> None:
    """Give a file a second name. Raises PermissionError (EPERM) if it is a directory."""
    os.link(from_name, name, src_dir_fd=from_directory, dst_dir_fd=directory, follow_symlinks=False)


@act("renameat(2)", from_directory=descriptor, directory=descriptor)
def renameat(from_directory: int, from_name: str, directory: int, name: str) -> None:
    """Move within a file system, replacing what was there."""
    os.rename(from_name, name, src_dir_fd=from_directory, dst_dir_fd=directory)


@act("unlinkat(2)", directory=descriptor)
def unlinkat(directory: int, name: str) -> None:
    """Remove a name that is not a directory's."""
    os.unlink(name, dir_fd=directory)


@act("unlinkat(2)", directory=descriptor)
def rmdirat(directory: int, name: str) -> None:
    """Remove an empty directory: ``unlinkat`` with AT_REMOVEDIR."""
    os.rmdir(name, dir_fd=directory)


def remove_all(directory: int, name: str) -> None:
    """Remove *name* and, if it is a directory, all in it. What is not there is no error.

    Each level is opened without following links, so a link in the tree loses its name and never its target. A
    container may have nested its directories thousands deep: so there is no recursion here, one open descriptor at a
    time, and the way back up through ``..`` is checked to be the way that was taken.
    """
    if _remove_entry(directory, name):
        return
    trail = [(name, os.fstat(directory), list[str]())]  # (what is being emptied, its parent, siblings still to do)
    here = _enter(directory, name)
    try:
        while trail:
            todo = [entry for entry in os.listdir(here) if not _remove_entry(here, entry)]
            while not todo and trail:  # this directory is empty: go up, remove it, and take its next sibling
                emptied, parent, todo = trail.pop()
                here = _replace(here, _enter(here, "..") if trail else os.dup(directory))
                if not os.path.samestat(os.fstat(here), parent):
                    raise OSError(errno.EAGAIN, "a directory was moved while its tree was removed", emptied)
                rmdirat(here, emptied)
            if todo:
                child = todo.pop()
                trail.append((child, os.fstat(here), todo))
                here = _replace(here, _enter(here, child))
    finally:
        os.close(here)


def _remove_entry(directory: int, name: str) -> bool:
    """Remove what is no directory; False if it is one."""
    try:
        unlinkat(directory, name)
    except FileNotFoundError:
        return True
    except IsADirectoryError:
        return False
    return True


def _enter(directory: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


@act("fchownat(2)", directory=descriptor)
def fchownat(directory: int, name: str, uid: int, gid: int) -> None:
    """Set the owner. The kernel then clears setuid and setgid, and drops ``security.capability``: set those after."""
    os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)


@act("fchmodat(2)", directory=descriptor, mode=octal)
def fchmodat(directory: int, name: str, mode: int) -> None:
    """Set the permission bits of what must not be a symbolic link: those have none, and would be followed."""
    os.chmod(name, mode, dir_fd=directory)


@act("utimensat(2)", directory=descriptor)
def utimensat(directory: int, name: str, atime: int, mtime: int) -> None:
    """Set access and modification time, in nanoseconds, of the entry itself."""
    os.utime(name, ns=(atime, mtime), dir_fd=directory, follow_symlinks=False)


@act("fchown(2)")
def fchown(descriptor: int, uid: int, gid: int) -> None:
    """As :func:`fchownat`, for an open file."""
    os.fchown(descriptor, uid, gid)


@act("fchmod(2)", descriptor=descriptor, mode=octal)
def fchmod(descriptor: int, mode: int) -> None:
    """As :func:`fchmodat`, for an open file."""
    os.fchmod(descriptor, mode)


@act("futimens(3)")
def futimens(descriptor: int, atime: int, mtime: int) -> None:
    """As :func:`utimensat`, for an open file."""
    os.utime(descriptor, ns=(atime, mtime))


def _proc(directory: int, name: str) -> str:
    return f"/proc/self/fd/{directory}/{name}"


@act("lsetxattr(2)")
def lsetxattr(directory: int, name: str, key: str, value: bytes) -> None:
    """Set an extended attribute.

    Raises:
        PermissionError: EPERM, ``user.*`` on neither file nor directory, or ``trusted.*`` without CAP_SYS_ADMIN.
        OSError: ENOTSUP, the file system has none of this kind; ENOSPC or E2BIG, too large.
    """
    os.setxattr(_proc(directory, name), key, value, follow_symlinks=False)


@act("lremovexattr(2)")
def lremovexattr(directory: int, name: str, key: str) -> None:
    """Remove an extended attribute. Raises OSError (ENODATA) if it is not set."""
    os.removexattr(_proc(directory, name), key, follow_symlinks=False)


def lgetxattr(directory: int, name: str, key: str) -> bytes | None:
    """The value of an extended attribute, None where it is not set or not supported."""
    try:
        return os.getxattr(_proc(directory, name), key, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
        return None


def llistxattr(directory: int, name: str) -> list[str]:
    """The names of the extended attributes, sorted; none where they are not supported."""
    try:
        return sorted(os.listxattr(_proc(directory, name), follow_symlinks=False))
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return []


@act("ioctl_ficlone(2)")
def ficlone(source: int, target: int) -> bool:
    """Let *target* share all data blocks of *source*; False where the file system cannot."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS):
            raise
        return False
    return True


@act("copy_file_range(2)")
def copy_range(source: int, target: int, start: int, length: int) -> None:
    """Copy *length* bytes at *start* to the same place, inside the kernel where it can.

    Raises:
        OSError: EIO, *source* ended before that.
    """
    end = start + length
    while start < end:
        try:
            count = os.copy_file_range(source, target, end - start, start, start)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            count = os.pwrite(target, os.pread(source, min(end - start, 1 << 20), start), start)
        if count == 0:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        start += count


def data_extents(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Where a sparse file of *size* bytes has data: (start, length) pairs, from lseek(2) SEEK_DATA and SEEK_HOLE."""
    extents, position = [], 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nothing but a hole up to the end
                raise
            break
        position = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        extents.append((start, position - start))
    return extents


@act("syncfs(2)")
def syncfs(descriptor: int) -> None:
    """Write everything of the file system that *descriptor* is on to its disk."""
    if libc.syncfs(descriptor) == -1:
        raise os_error("syncfs(2)")
