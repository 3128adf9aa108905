"""What is kept on disk: the acts between which a crash must find nothing half done.

A file system promises little about a crash. A rename happens as a whole or not at all; what was written is there for
sure only after fsync(2) of the file, and a new name only after fsync(2) of its directory. All that has to survive is
therefore written as ``write a draft, sync it, rename it, sync the directory``, and all that is removed is first given
a name by which nobody looks for it.

The functions do no more than the calls they are named after. They are here so that they can be told, and broken
(faults.py): a test that walks through them all, and dies at each, is how we know that the order is right. For what
somebody else has a say in, such as the files of a container, see files.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from minicontainerd.linux import files
from minicontainerd.linux.tell import act, descriptor, octal

P = ParamSpec("P")
Path = str | os.PathLike[str]


@act("mkdir(2)", mode=octal)
def make_directory(path: Path, mode: int = 0o777) -> None:
    """Make a directory; raises FileExistsError (EEXIST)."""
    os.mkdir(path, mode)


@act("mkdir(2)", mode=octal)
def ensure_directory(path: Path, mode: int = 0o777) -> None:
    """Make a directory and those above it, as far as they are not there."""
    os.makedirs(path, mode, exist_ok=True)


@act("write(2)", data=lambda data: f"{len(data)} bytes", mode=octal)
def write_file(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Make the file *path*, or replace what is in it. Until a sync, a power cut may leave any part of *data*."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        while data:
            data = data[os.write(file, data) :]
    finally:
        os.close(file)


@act("rmdir(2)")
def remove_directory(path: Path) -> None:
    """Remove an empty directory."""
    os.rmdir(path)


@act("rename(2)")
def rename(path: Path, target: Path) -> None:
    """Move within a file system; a file in the way is replaced, a directory that is not empty is not (ENOTEMPTY)."""
    os.rename(path, target)


@act("unlink(2)")
def unlink(path: Path) -> None:
    """Remove a file's name; raises FileNotFoundError (ENOENT)."""
    os.unlink(path)


@act("symlink(2)")
def symlink(target: Path, path: Path) -> None:
    """Make a symbolic link at *path*."""
    os.symlink(target, path)


@act("mkfifo(3)", mode=octal)
def make_fifo(path: Path, mode: int) -> None:
    """Make a FIFO."""
    os.mkfifo(path, mode)


@act("fsync(2)", file=descriptor)
def sync(file: int) -> None:
    """Wait until all that was written to the descriptor *file* is on the disk."""
    os.fsync(file)


@act("fsync(2)")
def sync_directory(path: Path) -> None:
    """Wait until the names in the directory *path* are on the disk."""
    _in_directory(path, os.fsync)


def remove_tree(path: Path) -> None:
    """Remove *path* and all in it; what is not there is no error. Links in it are removed, never followed."""
    folder, name = os.path.split(os.path.abspath(path))
    try:
        _in_directory(folder, files.remove_all, name)
    except FileNotFoundError:
        pass


def _in_directory(path: Path, work: Callable[Concatenate[int, P], None], *args: P.args, **kwargs: P.kwargs) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        work(directory, *args, **kwargs)
    finally:
        os.close(directory)
