"""The difference of two snapshots, written as a layer: the inverse of apply.py.

Both are mounted and walked side by side. That works for every snapshotter, and is the slow way: all names are read,
and files whose size and time are the same but which may differ all the same are read whole. What comes out::

    only in upper        the entry, with all above it that were not written yet
    in both, different   the entry; if content or attributes changed, all of it
    only in lower        dir/.wh.name, an empty file
    a hard link          to a name of the same file, if one is in this layer or is written now

The archive is deterministic: names are in order, times have whole seconds, and neither user names nor access times
are in it. It has every extended attribute except those of overlayfs and the host (``trusted.*``, labels of SELinux).

Source: containerd@301026e plugins/diff/walking/differ.go, pkg/archive/tar.go ``ChangeWriter``; continuity v0.4.5
fs/diff.go. containerd writes of extended attributes only ``security.capability``.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minicontainerd.linux import files
from minicontainerd.linux.files import Resolve
from minicontainerd.linux.mount_list import mount_all, unmount_all
from minicontainerd.oci.mount import Mount
from minicontainerd.snapshot import tar
from minicontainerd.snapshot.compression import Digesting, compressed
from minicontainerd.snapshot.tar import Entry

CHUNK = 1 << 20
SECOND = 10**9
_BENEATH = Resolve.BENEATH | Resolve.NO_SYMLINKS
_PRIVATE = ("trusted.", "user.overlay.", "security.selinux", "security.ima", "security.evm")
_TYPES = {
    stat.S_IFREG: tar.FILE,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHARACTER,
    stat.S_IFBLK: tar.BLOCKS,
    stat.S_IFIFO: tar.FIFO,
}


class Diff:
    """The layer from *lower* to *upper*, two lists of mounts. Iterate once; then *diff_id* is known.

    Raises:
        Unimplemented: *compression* is none of ``gzip``, ``zstd`` and the empty string.
        OSError: a snapshot cannot be mounted or read.
    """

    def __init__(self, lower: Sequence[Mount], upper: Sequence[Mount], compression: str = "gzip") -> None:
        self._lower, self._upper = lower, upper
        self._compression = compression
        self._archive: Digesting | None = None

    def __iter__(self) -> Iterator[bytes]:
        with temporarily(self._lower) as lower, temporarily(self._upper, read_only=True) as upper:
            self._archive = Digesting(_gathered(write_diff(lower, upper)))
            yield from compressed(self._archive, self._compression)

    @property
    def diff_id(self) -> str:
        """The digest of the layer without compression."""
        assert self._archive is not None, "iterate first"
        return self._archive.digest


@contextlib.contextmanager
def temporarily(mounts: Sequence[Mount], *, read_only: bool = False) -> Iterator[str]:
    """Mount *mounts* for the while of a block; no mounts are an empty directory."""
    if read_only:
        mounts = [Mount(m.type, m.source, m.target, _read_only(m)) for m in mounts]
    with tempfile.TemporaryDirectory(prefix="minicontainerd-mount-") as place:
        mount_all(mounts, place)
        try:
            yield place
        finally:
            if mounts:
                unmount_all(place)


def _read_only(mount: Mount) -> tuple[str, ...]:
    """The options for looking only: an overlay without its upper directory as such, which is then another lower one."""
    options = dict(option.partition("=")[::2] for option in mount.options if not option.startswith("workdir="))
    if mount.type != "overlay" or "upperdir" not in options:
        return (*(option for option in mount.options if option not in ("rw", "ro")), "ro")
    options["lowerdir"] = f"{options.pop('upperdir')}:{options['lowerdir']}"
    return tuple(f"{key}={value}" if value else key for key, value in options.items())


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Small pieces become large ones: a step in the pipeline costs the same for both."""
    kept, size = list[bytes](), 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield b"".join(kept)
            kept, size = [], 0
    yield b"".join(kept)


def write_diff(lower: str, upper: str) -> Iterator[bytes]:
    """The archive of what differs from the directory *lower* to the directory *upper*, piece by piece."""
    roots = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (lower, upper)]
    try:
        yield from _Writer(*roots).walk()
        yield tar.END
    finally:
        for root in roots:
            os.close(root)


@dataclass(frozen=True)
class _Side:
    """An entry in one of the two trees: its directory, open, and what it is."""

    fd: int
    name: str
    stat: os.stat_result


class _Writer:
    def __init__(self, lower: int, upper: int) -> None:
        self._lower, self._upper = lower, upper
        self._written: set[str] = {""}  # directories
        self._links: dict[int, str] = {}  # inode of a file with several names: the name that is in this layer
        self._unchanged: dict[int, list[str]] = {}  # names of such a file that were passed by, in case one changes

    def walk(self) -> Iterator[bytes]:
        """Go through all directories that upper has, parents before children and names in order."""
        todo = [""]
        while todo:
            path = todo.pop()
            upper = files.openat2(self._upper, path, os.O_RDONLY | os.O_DIRECTORY, _BENEATH)
            lower = _open_or_none(self._lower, path)
            try:
                below: list[str] = []
                theirs = set(os.listdir(lower)) if lower is not None else set()
                ours = set(os.listdir(upper))
                for name in sorted(theirs | ours):
                    full = f"{path}/{name}" if path else name
                    if name not in ours:
                        yield from self._whiteout(path, name)
                        continue
                    now = _Side(upper, name, os.stat(name, dir_fd=upper, follow_symlinks=False))
                    was = _side(lower, name) if name in theirs and lower is not None else None
                    yield from self._compare(full, was, now)
                    if stat.S_ISDIR(now.stat.st_mode):
                        below.append(full)
                todo += reversed(below)
            finally:
                os.close(upper)
                if lower is not None:
                    os.close(lower)

    def _compare(self, path: str, was: _Side | None, now: _Side) -> Iterator[bytes]:
        several = now.stat.st_nlink > 1 and not stat.S_ISDIR(now.stat.st_mode)
        if several and now.stat.st_ino in self._links:
            if was is None or not _same(was, now) or not _same_file(self._lower, was, self._links[now.stat.st_ino]):
                yield from self._entry(path, now, link=self._links[now.stat.st_ino])
            return
        if was is not None and _same(was, now):
            if several:
                self._unchanged.setdefault(now.stat.st_ino, []).append(path)
            return
        yield from self._entry(path, now)
        if several and not stat.S_ISSOCK(now.stat.st_mode):
            self._links[now.stat.st_ino] = path
            for other in self._unchanged.pop(now.stat.st_ino, []):
                yield from self._entry(other, now, link=path)

    def _whiteout(self, path: str, name: str) -> Iterator[bytes]:
        yield from self._parents(path)
        yield tar.pack(Entry(f"{path}/.wh.{name}" if path else f".wh.{name}", mode=0))

    def _parents(self, path: str) -> Iterator[bytes]:
        """The directories down to *path*, which must be in the archive before what is in them."""
        parts = path.split("/") if path else []
        for depth in range(1, len(parts) + 1):
            directory = "/".join(parts[:depth])
            if directory not in self._written:
                above = files.openat2(self._upper, "/".join(parts[: depth - 1]), os.O_PATH | os.O_DIRECTORY, _BENEATH)
                try:
                    side = _side(above, parts[depth - 1])
                    assert side is not None, "it was just listed"
                    yield from self._entry(directory, side)
                finally:
                    os.close(above)

    def _entry(self, path: str, side: _Side, link: str = "") -> Iterator[bytes]:
        found = side.stat
        if stat.S_ISSOCK(found.st_mode):
            return  # a socket without the process behind it is of no use, and tar has no type for it
        above, _, _ = path.rpartition("/")
        yield from self._parents(above)
        kind = tar.LINK if link else _TYPES[stat.S_IFMT(found.st_mode)]
        if kind == tar.DIRECTORY:
            self._written.add(path)
        entry = Entry(
            name=path + "/" if kind == tar.DIRECTORY else path,
            type=kind,
            mode=stat.S_IMODE(found.st_mode),
            uid=found.st_uid,
            gid=found.st_gid,
            size=found.st_size if kind == tar.FILE else 0,
            mtime=max(found.st_mtime_ns // SECOND, 0) * SECOND,
            link=link or (os.readlink(side.name, dir_fd=side.fd) if kind == tar.SYMLINK else ""),
            xattrs=_xattrs(side),
        )
        if kind in (tar.CHARACTER, tar.BLOCKS):
            entry.major, entry.minor = os.major(found.st_rdev), os.minor(found.st_rdev)
        yield tar.pack(entry)
        if kind == tar.FILE:
            yield from _content(side, entry.size)


def _content(side: _Side, size: int) -> Iterator[bytes]:
    left = size
    with open(os.open(side.name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=side.fd), "rb", buffering=0) as file:
        while left:
            chunk = file.read(min(CHUNK, left))
            if not chunk:
                raise OSError(f"{side.name}: the file became shorter while it was read")
            left -= len(chunk)
            yield chunk
    yield tar.padding(size)


def _open_or_none(root: int, path: str) -> int | None:
    try:
        return files.openat2(root, path, os.O_RDONLY | os.O_DIRECTORY, _BENEATH)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if stat.S_ISLNK(os.stat(path, dir_fd=root, follow_symlinks=False).st_mode):
            return None  # a link where upper has a directory
        raise error


def _side(directory: int, name: str) -> _Side | None:
    try:
        return _Side(directory, name, os.stat(name, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        return None


def _xattrs(side: _Side) -> dict[str, bytes]:
    found = {}
    for key in files.llistxattr(side.fd, side.name):
        if not key.startswith(_PRIVATE) and (value := files.lgetxattr(side.fd, side.name, key)):
            found[key] = value
    return found


def _same_file(root: int, was: _Side, other: str) -> bool:
    """Were *was* and the path *other* one file in the tree *root* too?"""
    try:
        found = os.stat(other, dir_fd=root, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return os.path.samestat(was.stat, found)


def _same(was: _Side, now: _Side) -> bool:
    """Does nothing that a layer can say differ? Content is read only where size and time leave it open."""
    one, two = was.stat, now.stat
    if os.path.samestat(one, two):
        return True
    if (one.st_mode, one.st_uid, one.st_gid, one.st_rdev) != (two.st_mode, two.st_uid, two.st_gid, two.st_rdev):
        return False
    if _xattrs(was) != _xattrs(now):
        return False
    if stat.S_ISDIR(one.st_mode):
        return True  # its time is that of the last change to its entries, which speak for themselves
    if one.st_mtime_ns // SECOND != two.st_mtime_ns // SECOND or one.st_size != two.st_size:
        return False
    if stat.S_ISLNK(one.st_mode):
        return os.readlink(was.name, dir_fd=was.fd) == os.readlink(now.name, dir_fd=now.fd)
    if not stat.S_ISREG(one.st_mode) or (one.st_mtime_ns == two.st_mtime_ns and one.st_mtime_ns % SECOND):
        return True
    return _same_content(was, now)


def _same_content(was: _Side, now: _Side) -> bool:
    size = was.stat.st_size
    return all(a == b for a, b in zip(_content(was, size), _content(now, size), strict=True))
