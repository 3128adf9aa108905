"""Mount what a snapshotter returned, and take it away again.

A list is mounted in order at one place: usually a single overlay, sometimes a bind mount. An overlay names every
lower layer in its options, and mount(2) reads only one page of them. Forty layers with long paths pass that.
The way out is the one containerd takes: change into the folder that all layers share, and name them relative to
it. The working directory belongs to the whole process, so a thread of its own first gets its own by
unshare(CLONE_FS); it ends together with that directory.

Source: containerd@301026e core/mount/mount_linux.go, ``Mount`` and ``optimizeLowerDirOption``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from typing import Protocol

from .mount import DATA_LIMIT, MNT, MS, mount, mount_setattr, open_tree, umount
from .mount_options import MountOptions, parse_mount_options
from .namespaces import CLONE, unshare


class MountLike(Protocol):
    """What is needed of a mount; ``oci.mount.Mount`` and the protobuf message of the API both have it."""

    @property
    def type(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def options(self) -> Iterable[str]: ...


def mount_all(mounts: Iterable[MountLike], target: str) -> None:
    """Make every mount of the list at (or below) *target*, in order. What was made stays when a later one fails.

    Raises:
        OSError: as mount(2); the data of an overlay may still be too long (E2BIG) after shortening.
    """
    for each in mounts:
        place = os.path.join(target, each.target) if each.target else target
        mount_one(each.type, each.source, place, parse_mount_options(each.options))


def mount_one(fstype: str, source: str, target: str, options: MountOptions) -> None:
    """One mount in its up to four calls: attach, remount a bind for its flags, propagation, recursive attributes."""
    _attach(fstype, source, target, options)
    if options.is_bind and options.remount_flags:
        mount("", target, "", MS.REMOUNT | MS.BIND | options.remount_flags)
    for propagation in options.propagation:
        mount("", target, "", propagation)
    if options.recursive_set or options.recursive_clear:
        tree = open_tree(target)
        try:
            mount_setattr(tree, set=options.recursive_set, clear=options.recursive_clear, recursive=True)
        finally:
            os.close(tree)


def unmount_all(target: str, flags: int = MNT.NOFOLLOW) -> None:
    """Detach everything stacked at *target*; nothing there, or no *target* at all, is fine.

    Raises:
        OSError: EBUSY, it is in use; pass ``MNT.DETACH`` to let it vanish once it is not.
    """
    while True:
        try:
            umount(target, flags)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return
            raise


def _attach(fstype: str, source: str, target: str, options: MountOptions) -> None:
    flags = options.flags & (MS.BIND | MS.REC) if options.is_bind else options.flags
    if fstype == "overlay" and len(os.fsencode(options.data)) >= DATA_LIMIT:
        folder, data = _shorten(options.data.split(","))
        _mount_in(folder, source, target, fstype, flags, data)
    else:
        mount(source, target, fstype, flags, options.data)


def _shorten(options: Sequence[str]) -> tuple[str, str]:
    """The folder that the lower layers share, and the options with the layers relative to it.

    >>> _shorten(["lowerdir=/s/2/fs:/s/1/fs", "workdir=/s/3/work", "upperdir=/s/3/fs"])
    ('/s', 'lowerdir=2/fs:1/fs,workdir=/s/3/work,upperdir=/s/3/fs')
    """
    (lowerdir,) = [option for option in options if option.startswith("lowerdir=")]
    layers = lowerdir.removeprefix("lowerdir=").split(":")
    folder = os.path.commonpath(layers)
    short = "lowerdir=" + ":".join(os.path.relpath(layer, folder) for layer in layers)
    data = ",".join(short if option is lowerdir else option for option in options)
    if len(os.fsencode(data)) >= DATA_LIMIT:
        raise OSError(errno.E2BIG, f"mount options are {len(data)} bytes long, the kernel reads {DATA_LIMIT - 1}")
    return folder, data


def _mount_in(folder: str, source: str, target: str, fstype: str, flags: int, data: str) -> None:
    """mount(2) with *folder* as the working directory, of a thread made for it and of nobody else."""
    from concurrent.futures import ThreadPoolExecutor  # rare, and slow to import

    def work() -> None:
        unshare(CLONE.FS)
        os.chdir(folder)
        mount(source, target, fstype, flags, data)

    target = os.path.abspath(target)
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(work).result()
