"""Copy a file or a tree with everything that belongs to it, and measure one.

What belongs to a file: type, content with its holes, owner, permission bits, extended attributes, times in
nanoseconds, and which names are hard links to each other. The order matters, because the kernel helps itself::

    create ─ chown ─ setxattr ─ chmod ─ utimens        chown clears setuid bits and security.capability,
                                                       and a directory's time changes with every child: children first

Blocks are shared where the file system can (FICLONE), else copied inside the kernel (copy_file_range).
"""

from __future__ import annotations

import os
import stat

from minicontainerd.linux import files
from minicontainerd.linux.files import Resolve
from minicontainerd.snapshot.snapshotter import Usage

STRICT = Resolve.BENEATH | Resolve.NO_SYMLINKS
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")  # marks of overlayfs on its upper directory, not part of a tree


def copy_tree(source: str, target: str) -> None:
    """Make the directory *target*, which exists and is empty, equal to the directory *source*, itself included."""
    roots = os.open(source, DIRECTORY), os.open(target, DIRECTORY)
    try:
        _copy_tree(*roots)
    finally:
        for descriptor in roots:
            os.close(descriptor)


def _copy_tree(source: int, target: int) -> None:
    first: dict[tuple[int, int], tuple[str, str]] = {}  # device and inode: where its first name was copied to
    order, todo = [], ["."]
    while todo:
        path = todo.pop()
        order.append(path)
        here, there = (files.openat2(root, path, DIRECTORY, STRICT) for root in (source, target))
        try:
            for name in sorted(os.listdir(here)):
                found = os.stat(name, dir_fd=here, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    files.mkdirat(there, name, 0o700)
                    todo.append(f"{path}/{name}")
                elif found.st_nlink > 1 and (known := first.setdefault(_inode(found), (path, name))) != (path, name):
                    _link(target, known, there, name)
                else:
                    copy_entry(here, there, name, found)
        finally:
            os.close(here)
            os.close(there)
    for path in reversed(order):  # children before parents, so that the times stay
        _copy_directory_itself(source, target, path)


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _link(root: int, known: tuple[str, str], directory: int, name: str) -> None:
    parent = files.openat2(root, known[0], os.O_PATH | os.O_DIRECTORY, STRICT)
    try:
        files.linkat(parent, known[1], directory, name)
    finally:
        os.close(parent)


def _copy_directory_itself(source: int, target: int, path: str) -> None:
    here, there = (files.openat2(root, path, DIRECTORY, STRICT) for root in (source, target))
    try:
        copy_metadata(here, ".", there, ".", os.fstat(here))
    finally:
        os.close(here)
        os.close(there)


def copy_entry(here: int, there: int, name: str, found: os.stat_result) -> None:
    """Copy the entry *name*, no directory, with *found* its lstat, from one open directory to another."""
    if stat.S_ISREG(found.st_mode):
        _copy_content(here, there, name, found.st_size)
    elif stat.S_ISLNK(found.st_mode):
        files.symlinkat(os.readlink(name, dir_fd=here), there, name)
    else:
        files.mknodat(there, name, found.st_mode, found.st_rdev)
    copy_metadata(here, name, there, name, found)


def _copy_content(here: int, there: int, name: str, size: int) -> None:
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
    try:
        target = files.create(there, name)
        try:
            if size and not files.ficlone(source, target):
                for start, length in files.data_extents(source, size):
                    files.copy_range(source, target, start, length)
                os.ftruncate(target, size)
        finally:
            os.close(target)
    finally:
        os.close(source)


def copy_metadata(
    here: int, name: str, there: int, new_name: str, found: os.stat_result, *, overlay: bool = True
) -> None:
    """Copy owner, extended attributes, permission bits and times of an entry of any type.

    Without *overlay*, attributes by which overlayfs marks its upper directory stay behind.
    """
    files.fchownat(there, new_name, found.st_uid, found.st_gid)
    for key in files.llistxattr(here, name):
        if not overlay and key.startswith(OVERLAY_XATTRS):
            continue
        value = files.lgetxattr(here, name, key)
        if value is not None:
            files.lsetxattr(there, new_name, key, value)
    if not stat.S_ISLNK(found.st_mode):
        files.fchmodat(there, new_name, stat.S_IMODE(found.st_mode))
    files.utimensat(there, new_name, found.st_atime_ns, found.st_mtime_ns)


def measure(path: str) -> Usage:
    """The blocks and inodes that the tree at *path* takes, its top included; a file with many names counts once.

    Source of the rules: containerd@301026e uses continuity fs.DiskUsage: 512-byte blocks, not apparent sizes.
    """
    seen: set[tuple[int, int]] = set()
    size, todo = 0, [path]
    top = os.lstat(path)
    seen.add(_inode(top))
    size += top.st_blocks * 512
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if _inode(found) not in seen:
                    seen.add(_inode(found))
                    size += found.st_blocks * 512
                if stat.S_ISDIR(found.st_mode):
                    todo.append(entry.path)
    return Usage(size, len(seen))
