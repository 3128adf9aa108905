"""``tmpcopyup``: a tmpfs that begins as a copy of the folder it is mounted over.

An image keeps /etc read-only, and its program wants to change one file there for as long as it lives. So a tmpfs is
put over the folder, and first gets all that is in the folder: the descriptor of what lies below was opened before
the mount, and the one of the tmpfs after it. The copy goes from one to the other by names relative to them, follows no
symbolic link, and so cannot be led anywhere else by an image.

Copied are folders, files, links, device nodes and FIFOs, with owner, mode, times and what extended attributes a tmpfs
takes. Hard links become files of their own. Source: runtime-spec 1.3 config.md#linux-mount-options.
"""

from __future__ import annotations

import errno
import os
import stat

_CHUNK = 1 << 20


def copy(source: int, target: int) -> None:
    """Copy what is in the folder behind *source* into the one behind *target*, and its owner and times.

    Raises:
        OSError: as the kernel gave it; ENOSPC is a tmpfs whose ``size`` is too small.
    """
    for name in os.listdir(source):
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            _copy_folder(source, target, name)
        else:
            _copy_one(source, target, name, status)
    status = os.fstat(source)
    _copy_attributes(source, target)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_folder(source: int, target: int, name: str) -> None:
    os.mkdir(name, 0o700, dir_fd=target)
    inner = open_folder(name, source), open_folder(name, target)
    try:
        copy(*inner)
    finally:
        for descriptor in inner:
            os.close(descriptor)


def open_folder(path: str, inside: int | None = None) -> int:
    """A descriptor of the folder *path* to read it by; a link is none."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)


def _copy_one(source: int, target: int, name: str, status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        _copy_file(source, target, name, status)
    elif kind == stat.S_IFLNK:
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    elif kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO):
        os.mknod(name, kind | 0o600, status.st_rdev, dir_fd=target)
    else:
        return  # a socket means something only to whoever listens at it
    os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if kind != stat.S_IFLNK:
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)  # after chown, which clears setuid
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _copy_file(source: int, target: int, name: str, status: os.stat_result) -> None:
    old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    new = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
    try:
        while os.sendfile(new, old, None, _CHUNK):
            continue
        _copy_attributes(old, new)
    finally:
        os.close(old)
        os.close(new)


def _copy_attributes(source: int, target: int) -> None:
    for name in os.listxattr(source):
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL):
                raise  # else one that a tmpfs, or this user, may not have
