"""Where a layer is put: a directory beneath which every name of the layer ends up, whatever it says.

A layer may be put into a plain directory, or into the upper directory of an overlay that is not mounted. The second
is the first with other directories below: a name is looked up as overlayfs would, in the uppermost directory that
has something to say about it::

    upper   etc/          is a directory: merged with those below, unless it is marked opaque
    lower   etc -> conf   would win if upper had nothing; everything below it is then hidden
    lower   (c 0/0) etc   a whiteout: there is no etc, whatever is below

So a parent directory that only a lower layer has is made in upper with the attributes it has there, a symbolic link
of a lower layer is followed, and a hard link to a file of a lower layer copies it up first. That is what the kernel
does when the overlay is mounted, and so both snapshotters come to the same tree.

Two ways to a parent directory: the fast one asks the kernel, ``openat2`` with RESOLVE_IN_ROOT, which is right if all
of it is in upper. Otherwise :meth:`Target._make` goes component by component, by itself and through all layers, and
never opens anything but directories without following links. Neither can leave the root.

Source: containerd@301026e pkg/archive/tar.go, ``mkparent``; Linux v6.6 Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from minicontainerd.linux import files
from minicontainerd.linux.files import Resolve
from minicontainerd.snapshot.copying import DIRECTORY, STRICT, copy_entry, copy_metadata

IN_ROOT = Resolve.IN_ROOT | Resolve.NO_MAGICLINKS
OPAQUE = "trusted.overlay.opaque"
_MAX_LINKS = 40  # the kernel's own limit for one path
_KEPT_OPEN = 64  # parent directories


def is_whiteout(found: os.stat_result) -> bool:
    """Does this entry of an overlay layer say that there is nothing?"""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


@dataclass(frozen=True)
class Parent:
    """A directory of the upper layer, open, and where it is beneath the root: no links, empty for the root itself."""

    fd: int
    path: str

    def join(self, name: str) -> str:
        """The path of an entry in it."""
        return f"{self.path}/{name}" if self.path else name


class Target:
    """The directory *upper*, seen together with the directories *lowers*, uppermost first. A context manager."""

    def __init__(self, upper: str, lowers: Sequence[str] = ()) -> None:
        self.overlay = bool(lowers)
        self._layers = [os.open(path, DIRECTORY | os.O_CLOEXEC) for path in (upper, *lowers)]
        self._parents: dict[str, Parent] = {}
        self._prefix = len(os.readlink(f"/proc/self/fd/{self.root}")) + 1
        self._times: dict[int, tuple[str, int, int]] = {}  # inode: path, atime, mtime

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()
        for descriptor in self._layers:
            os.close(descriptor)

    @property
    def root(self) -> int:
        """The upper directory, open."""
        return self._layers[0]

    def forget(self) -> None:
        """Look parents up anew: to be called when a directory or link on the way to one may have changed."""
        for parent in self._parents.values():
            os.close(parent.fd)
        self._parents.clear()

    def parent(self, path: str) -> Parent:
        """The directory at *path*, open as long as nothing is forgotten; what is missing of it is made.

        Raises:
            NotADirectoryError: something on the way is in the way.
        """
        known = self._parents.get(path)
        if known is not None:
            return known
        if len(self._parents) >= _KEPT_OPEN:
            self.forget()
        try:
            found = files.openat2(self.root, path, os.O_RDONLY | os.O_DIRECTORY, IN_ROOT)
        except FileNotFoundError:
            found = self._make(path)
        except NotADirectoryError:
            if not self.overlay:  # where a whiteout is in the way, the kernel says the same
                raise
            found = self._make(path)
        parent = self._parents[path] = Parent(found, os.readlink(f"/proc/self/fd/{found}")[self._prefix :])
        now = os.fstat(found)
        self._times.setdefault(now.st_ino, (parent.path, now.st_atime_ns, now.st_mtime_ns))
        return parent

    def keep_time(self, parent: Parent, name: str, atime: int, mtime: int) -> None:
        """Remember what the times of the directory *name* are to be in the end."""
        inode = os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_ino
        self._times[inode] = (parent.join(name), atime, mtime)

    def restore_times(self) -> None:
        """Give every directory the times it is to have: those of its entry, or else those from before its children."""
        for inode, (path, atime, mtime) in self._times.items():
            try:
                found = files.openat2(self.root, path, DIRECTORY, STRICT)
            except (FileNotFoundError, NotADirectoryError, OSError) as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
                continue  # a later entry has replaced it
            try:
                if os.fstat(found).st_ino == inode:
                    files.futimens(found, atime, mtime)
            finally:
                os.close(found)

    def find(self, path: str) -> tuple[Parent, str] | None:
        """Where the entry *path* is, for a hard link: its directory and its name; copied up first if it is below."""
        above, name = os.path.split(path)
        parent = self.parent(above)
        found = _lstat(parent.fd, name)
        if found is None and self.overlay:
            merged, found, layer = self._look(self._merged(parent.path), parent.join(name))
            if found is None or merged:
                return None
            below = files.openat2(layer, parent.path, DIRECTORY, STRICT)
            try:
                copy_entry(below, parent.fd, name, found)
            finally:
                os.close(below)
        elif found is None or (self.overlay and is_whiteout(found)):
            return None
        return parent, name

    def is_below(self, parent: Parent, name: str) -> bool:
        """Do the lower layers have *name*, which upper has not, in the directory *parent*?

        Only then is a whiteout right: in a directory that is not merged, overlayfs does not filter its listing, and a
        whiteout would be a name that is listed but not there.
        """
        return self.overlay and self._look(self._merged(parent.path), parent.join(name))[1] is not None

    def _look(self, layers: list[int], path: str) -> tuple[list[int], os.stat_result | None, int]:
        """Look up *path*, whose parent is merged from *layers*.

        Returns the layers that it is merged from, if it is a directory, else none; what it is; and in which layer.
        """
        merged: list[int] = []
        for layer in layers:
            found = _lstat(layer, path)
            if found is None:
                continue
            if not stat.S_ISDIR(found.st_mode):
                if merged:
                    break
                return [], None if self.overlay and is_whiteout(found) else found, layer
            merged.append(layer)
            if self.overlay and files.lgetxattr(layer, path, OPAQUE) == b"y":
                break
        return (merged, _lstat(merged[0], path), merged[0]) if merged else ([], None, -1)

    def _merged(self, path: str) -> list[int]:
        """The layers that the directory *path*, which upper has and of which no part is a link, is merged from."""
        layers, done = self._layers, ""
        for part in filter(None, path.split("/")):
            done = f"{done}/{part}" if done else part
            layers = self._look(layers, done)[0]
        return layers

    def _make(self, path: str) -> int:
        """Walk *path* through all layers, following links by hand, and make in upper what is missing there."""
        todo, done, links = deque(path.split("/")), list[str](), 0
        while todo:
            part = todo.popleft()
            if part in ("", "."):
                continue
            if part == "..":
                done = done[:-1]
                continue
            here = "/".join((*done, part))
            merged, found, layer = self._look(self._merged("/".join(done)), here)
            if found is not None and stat.S_ISLNK(found.st_mode):
                target = os.readlink(here, dir_fd=layer)
                todo.extendleft(reversed(target.split("/")))
                done = [] if target.startswith("/") else done
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                continue
            if found is not None and not merged:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), here)
            if layer != self.root or not merged:
                self._make_directory(here, layer, found)
            done.append(part)
        return files.openat2(self.root, "/".join(done), DIRECTORY, STRICT)

    def _make_directory(self, path: str, layer: int, found: os.stat_result | None) -> None:
        """Make *path* in upper as it is in *layer*, or as a new directory."""
        above, name = os.path.split(path)
        directory = files.openat2(self.root, above, DIRECTORY, STRICT)
        try:
            whiteout = _lstat(directory, name) is not None
            if whiteout:
                files.unlinkat(directory, name)
            files.mkdirat(directory, name, 0o755)
            files.fchmodat(directory, name, 0o755)
            if whiteout:  # a directory in its place shows nothing of what it hid
                files.lsetxattr(directory, name, OPAQUE, b"y")
            elif found is not None:
                copy_metadata(layer, path, directory, name, found, overlay=False)
        finally:
            os.close(directory)


def _lstat(directory: int, path: str) -> os.stat_result | None:
    """lstat beneath an open directory. Every part of *path* but the last must be known to be a directory."""
    try:
        return os.stat(path, dir_fd=directory, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
