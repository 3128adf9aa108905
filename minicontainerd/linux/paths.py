"""Paths inside a root that is not ours: openat2(2), mkdir and friends that cannot be led outside.

A container's filesystem is written by strangers. If it has ``/proc -> /etc`` as a symbolic link, then mounting at
``rootfs/proc`` by name mounts over the host's ``/etc``. The cure is to let the kernel resolve the name as if the
rootfs were ``/`` (RESOLVE_IN_ROOT), keep the result as a descriptor, and act on ``/proc/self/fd/N``, which means
exactly that file whatever is renamed meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os

from .files import Resolve, mkdirat, mknodat, openat2, symlinkat
from .tell import act, descriptor, device, octal, open_flags


@act("openat2(2)", root=descriptor, flags=open_flags, mode=octal)
def open_in_root(root: int, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
    """Open *path* as it is seen by somebody whose ``/`` is the folder *root*; symbolic links stay inside.

    Raises:
        FileNotFoundError, NotADirectoryError: as open(2).
        OSError: ELOOP, too many links, or *flags* has O_NOFOLLOW and the last part is one.
    """
    return openat2(root, path, flags, Resolve.IN_ROOT, mode)


@act("openat2(2) mkdirat(2)", root=descriptor, mode=octal)
def make_folders(root: int, path: str, mode: int = 0o755) -> int:
    """An O_PATH descriptor of the folder *path* in *root*, with every missing folder on the way made.

    Where a symbolic link leads to nothing, the folder is made there, as if its target had been asked for.

    Raises:
        NotADirectoryError: something on the way is a file.
    """
    with contextlib.suppress(FileNotFoundError):  # mostly it is there
        return open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
    here = os.dup(root)
    done = ""
    for part in (part for part in path.split("/") if part not in ("", ".")):
        before, done = done, f"{done}/{part}"
        try:
            deeper = open_in_root(root, done, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            if target := _target_of_link(here, part):
                deeper = make_folders(root, os.path.join(before, target), mode)
            else:
                mkdirat(here, part, mode)
                deeper = open_in_root(root, done, os.O_PATH | os.O_DIRECTORY)
        os.close(here)
        here = deeper
    return here


@act("openat2(2)", root=descriptor, mode=octal)
def make_file(root: int, path: str, mode: int = 0o644) -> int:
    """An O_PATH descriptor of *path* in *root*; when missing, an empty file is made there to be mounted over."""
    try:
        return open_in_root(root, path)
    except FileNotFoundError:
        before, name = os.path.split(path)
        folder = make_folders(root, before)
        try:
            if target := _target_of_link(folder, name):  # /etc/resolv.conf, into a /run that is empty yet
                return make_file(root, os.path.join(before, target), mode)
            os.close(open_in_root(root, path, os.O_CREAT | os.O_WRONLY, mode))
        finally:
            os.close(folder)
        return open_in_root(root, path)


def _target_of_link(folder: int, name: str) -> str:
    """Where the symbolic link *name* in *folder* leads, or "": it is not there, or no link."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return ""
        raise


@act("mknodat(2)", root=descriptor, kind=octal, mode=octal, device=device)
def make_node(root: int, path: str, kind: int, mode: int, device: int) -> None:
    """Make the device or FIFO *path* in *root*; *kind* is stat.S_IFCHR, S_IFBLK or S_IFIFO.

    Raises:
        FileExistsError: EEXIST, something is there.
        PermissionError: EPERM, no CAP_MKNOD, or a user namespace.
    """
    folder = make_folders(root, os.path.dirname(path))
    try:
        mknodat(folder, os.path.basename(path), kind | mode, device)
    finally:
        os.close(folder)


@act("symlinkat(2)", root=descriptor, target=repr)
def make_link(root: int, path: str, target: str) -> None:
    """Make *path* in *root* a symbolic link to *target*; one that is there stays as it is."""
    folder = make_folders(root, os.path.dirname(path))
    try:
        symlinkat(target, folder, os.path.basename(path))
    except FileExistsError:
        pass  # an image may bring its own
    finally:
        os.close(folder)


def through(opened: int) -> str:
    """A path that means the open file *opened*, for calls that take only paths."""
    return f"/proc/self/fd/{opened}"


def is_missing(error: OSError) -> bool:
    """Whether *error* says that there is nothing at the path."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR)
