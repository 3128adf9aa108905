"""Put a layer into a snapshot: every entry of a tar becomes a file, and some entries make files go away.

A layer says what differs from the layers below. What is new or changed is in it as it is. What is gone is in it as a
*whiteout*, an empty file with a special name::

    dir/.wh.name        dir/name of the layers below is gone         plain: delete it    overlay: character device 0/0
    dir/.wh..wh..opq    all in dir of the layers below is gone       plain: delete it    overlay: dir is marked opaque

A whiteout speaks of layers below only: what the same layer has under that name stays, whichever comes first.
An entry replaces what is there, except that a directory on a directory only changes its attributes.

The snapshotter's mounts tell which case it is: a ``bind`` is a plain directory, of an ``overlay`` only the upper
directory is written. Nothing is mounted.

Layers come from strangers. Names are cleaned and then only used beneath the target (target.py), so ``../../etc`` is
``etc``, and an entry behind a link to ``/etc`` lands in the *snapshot's* ``/etc``. What cannot be, like a file where
a directory is needed, is refused with the name of the entry.

Source: image-spec v1.1.1 layer.md#applying-changesets; containerd@301026e pkg/archive/tar.go, core/diff/apply.
Where they differ, the specification is followed: containerd lets a whiteout delete what its own layer has put there.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from minicontainerd.errors import ContainerdError, InvalidArgument, ResourceExhausted
from minicontainerd.linux import files
from minicontainerd.linux.tell import step
from minicontainerd.oci.mount import Mount
from minicontainerd.snapshot import tar
from minicontainerd.snapshot.compression import Digesting, Readable, ahead, decompressed
from minicontainerd.snapshot.copying import OVERLAY_XATTRS
from minicontainerd.snapshot.tar import Entry, Reader
from minicontainerd.snapshot.target import OPAQUE, Parent, Target

WHITEOUT, OPAQUE_MARK = ".wh.", ".wh..wh..opq"
_TYPES = {tar.CHARACTER: stat.S_IFCHR, tar.BLOCKS: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}
_OF_THE_HOST = ("security.selinux", "security.ima", "security.evm", *OVERLAY_XATTRS)  # never a layer's to remove
_FULL = (errno.ENOSPC, errno.EDQUOT)
_IMPOSSIBLE = (
    *(errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL),
    *(errno.EPERM, errno.ERANGE, errno.E2BIG, errno.EFBIG, errno.EMLINK),
)

T = TypeVar("T")


class Applied(NamedTuple):
    """The digest of the uncompressed layer, and its length in bytes."""

    diff_id: str
    size: int


def apply_layer(
    mounts: Sequence[Mount], blob: Readable, compression: str | None = None, *, sync: bool = False
) -> Applied:
    """Decompress *blob* (see :func:`compression.decompressed`) and :func:`apply` it, in two threads."""
    return apply(mounts, decompressed(blob, compression), sync=sync)


def apply(mounts: Sequence[Mount], chunks: Iterable[bytes], *, sync: bool = False) -> Applied:
    """Put the layer *chunks*, an uncompressed tar, into the snapshot that *mounts* are of.

    With *sync*, all of it is on the disk afterwards.

    Raises:
        InvalidArgument: the archive is damaged, or an entry, which the message names, cannot be made.
        ResourceExhausted: the disk is full.
        OSError: anything else the host refuses.
    """
    upper, lowers = directories(mounts)
    with step("apply a layer", spec="image-spec layer.md#applying-changesets"), Target(upper, lowers) as target:
        digesting = Digesting(chunks)
        stream = ahead(digesting)
        try:
            Layer(target).apply(Reader(stream))
        finally:
            stream.close()
        if sync:
            files.syncfs(target.root)
    return Applied(digesting.digest, digesting.size)


def directories(mounts: Sequence[Mount]) -> tuple[str, list[str]]:
    """Which directory a snapshot's mounts let one write to, and which are below it.

    Raises:
        InvalidArgument: they are read-only, or not what a snapshotter here returns.
    """
    if len(mounts) == 1 and mounts[0].type == "bind" and "ro" not in mounts[0].options:
        return mounts[0].source, []
    if len(mounts) == 1 and mounts[0].type == "overlay":
        options = dict(option.partition("=")[::2] for option in mounts[0].options)
        if "upperdir" in options and options.get("lowerdir"):
            return options["upperdir"], options["lowerdir"].split(":")
    raise InvalidArgument(f"a layer cannot be applied to these mounts: {list(mounts)}")


class Layer:
    """One layer on its way into *target*."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._made: set[str] = set()  # what this layer has put there, with all directories above it
        self._stale = False  # a directory or link went away: parents must be looked up anew

    def apply(self, reader: Reader) -> None:
        """Put every entry of *reader* into the target, then set the times of directories."""
        for entry in reader:
            if entry.type == b"g":
                continue
            try:
                self._apply_entry(entry, reader)
            except (OSError, ValueError, OverflowError) as error:
                raise _explain(entry, error) from error
            except ContainerdError as error:
                raise type(error)(f'layer entry "{entry.name}": {error}') from error
        reader.drain()
        self._target.restore_times()

    def _apply_entry(self, entry: Entry, reader: Reader) -> None:
        path = posixpath.normpath("/" + entry.name).lstrip("/")  # a .. that leads out of the root stays at the root
        above, name = posixpath.split(path)
        if not name:
            return  # the root itself belongs to the snapshotter
        if self._stale:
            self._target.forget()
            self._stale = False
        parent = self._target.parent(above)
        if name == OPAQUE_MARK:
            self._hide_below(parent)
        elif name.startswith(WHITEOUT):
            self._hide(parent, name.removeprefix(WHITEOUT), entry)
        else:
            self._put(parent, name, entry, reader)
            self._remember(parent.join(name))

    def _remember(self, path: str) -> None:
        while path and path not in self._made:
            self._made.add(path)
            path = path.rpartition("/")[0]

    def _hide(self, parent: Parent, name: str, entry: Entry) -> None:
        if name in ("", ".", ".."):
            raise InvalidArgument(f"invalid whiteout name: {WHITEOUT}{name}: invalid archive")
        if parent.join(name) in self._made:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode):
                self._hide_below(self._target.parent(parent.join(name)))
            return
        files.remove_all(parent.fd, name)
        self._stale = True
        if self._target.is_below(parent, name):
            files.mknodat(parent.fd, name, stat.S_IFCHR)
            files.fchownat(parent.fd, name, entry.uid, entry.gid)

    def _hide_below(self, parent: Parent) -> None:
        """Leave in a directory only what this layer has put there."""
        if self._target.overlay:
            files.lsetxattr(parent.fd, ".", OPAQUE, b"y")
        self._stale = True
        for name in os.listdir(parent.fd):
            path = parent.join(name)
            if path not in self._made:  # in an overlay a whiteout, which hides nothing any more
                files.remove_all(parent.fd, name)
            elif stat.S_ISDIR(os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode):
                self._hide_below(self._target.parent(path))

    def _put(self, parent: Parent, name: str, entry: Entry, reader: Reader) -> None:
        match entry.type:
            case tar.FILE:
                self._put_file(parent, name, entry, reader)
                return
            case tar.DIRECTORY:
                self._put_directory(parent, name, entry)
            case tar.SYMLINK:
                self._replacing(parent, name, lambda: files.symlinkat(entry.link, parent.fd, name))
            case tar.LINK:
                self._put_link(parent, name, entry)
            case tar.CHARACTER | tar.BLOCKS | tar.FIFO:
                mode, device = _TYPES[entry.type] | entry.mode, os.makedev(entry.major, entry.minor)
                self._replacing(parent, name, lambda: files.mknodat(parent.fd, name, mode, device))
            case other:
                raise InvalidArgument(f"unhandled tar header type {other[0]}")
        self._set_attributes(parent.fd, name, entry)
        if entry.type == tar.DIRECTORY:
            self._target.keep_time(parent, name, max(entry.atime, entry.mtime), entry.mtime)

    def _put_file(self, parent: Parent, name: str, entry: Entry, reader: Reader) -> None:
        descriptor = self._replacing(parent, name, lambda: files.create(parent.fd, name))
        try:
            if entry.extents is not None:
                _write_sparse(descriptor, entry, reader)
            else:
                for piece in reader.data():
                    _write(descriptor, piece)
            files.fchown(descriptor, entry.uid, entry.gid)
            if entry.xattrs:
                _set_xattrs(parent.fd, name, entry)
            files.fchmod(descriptor, entry.mode)
            files.futimens(descriptor, max(entry.atime, entry.mtime), entry.mtime)
        finally:
            os.close(descriptor)

    def _put_directory(self, parent: Parent, name: str, entry: Entry) -> None:
        try:
            files.mkdirat(parent.fd, name, 0o700)
            return
        except FileExistsError:
            found = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            for key in files.llistxattr(parent.fd, name):
                if key not in entry.xattrs and not key.startswith(_OF_THE_HOST):
                    files.lremovexattr(parent.fd, name, key)
            return
        files.unlinkat(parent.fd, name)
        self._stale = True
        files.mkdirat(parent.fd, name, 0o700)
        if self._target.overlay:  # what it replaces had hidden what is below, and must go on doing so
            files.lsetxattr(parent.fd, name, OPAQUE, b"y")

    def _put_link(self, parent: Parent, name: str, entry: Entry) -> None:
        path = posixpath.normpath("/" + entry.link).lstrip("/")
        found = self._target.find(path) if path else None
        if found is None:
            raise FileNotFoundError(errno.ENOENT, f"hard link to {entry.link}, which is not there")
        directory, other = found
        was = os.stat(other, dir_fd=directory.fd, follow_symlinks=False)
        if stat.S_ISDIR(was.st_mode):
            raise PermissionError(errno.EPERM, f"hard link to {entry.link}, which is a directory")
        try:
            now = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
        except FileNotFoundError:
            now = None
        if now is None or not os.path.samestat(was, now):
            self._replacing(parent, name, lambda: files.linkat(directory.fd, other, parent.fd, name))

    def _replacing(self, parent: Parent, name: str, make: Callable[[], T]) -> T:
        """Make something; if there is something already, remove that first."""
        try:
            return make()
        except FileExistsError:
            files.remove_all(parent.fd, name)
            self._stale = True
            return make()

    def _set_attributes(self, directory: int, name: str, entry: Entry) -> None:
        files.fchownat(directory, name, entry.uid, entry.gid)
        _set_xattrs(directory, name, entry)
        if not stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            files.fchmodat(directory, name, entry.mode)
        files.utimensat(directory, name, max(entry.atime, entry.mtime), entry.mtime)


def _write(descriptor: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]


def _write_sparse(descriptor: int, entry: Entry, reader: Reader) -> None:
    pieces = reader.data()
    piece = memoryview(b"")
    for start, length in entry.extents or ():
        os.lseek(descriptor, start, os.SEEK_SET)
        while length:
            piece = piece or next(pieces)
            _write(descriptor, piece[:length])
            length, piece = length - len(piece[:length]), piece[length:]
    os.ftruncate(descriptor, entry.size)


def _set_xattrs(directory: int, name: str, entry: Entry) -> None:
    for key, value in entry.xattrs.items():
        if key.startswith("trusted."):
            continue  # the host's administrator speaks through these, overlayfs too: not for a layer to set
        try:
            files.lsetxattr(directory, name, key, value)
        except OSError as error:
            unsupported = error.errno == errno.ENOTSUP
            if not unsupported and not (error.errno == errno.EPERM and key.startswith("user.")):
                raise  # EPERM: only files and directories have user attributes


def _explain(entry: Entry, error: Exception) -> Exception:
    """Name the entry in *error*, and say whose fault it is: the disk's, the layer's, or some other, which passes."""
    code = error.errno if isinstance(error, OSError) else errno.EINVAL
    words = f'layer entry "{entry.name}": {error.strerror if isinstance(error, OSError) else error}'
    if code in _FULL:
        return ResourceExhausted(words)
    if code in _IMPOSSIBLE or not isinstance(error, OSError):
        return InvalidArgument(words)
    error.add_note(words)
    return error
