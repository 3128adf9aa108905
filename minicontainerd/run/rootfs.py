"""The container's filesystem: from a folder on the host to the ``/`` of a process that cannot see anything else.

::

    detach       make every mount a slave, so that ours do not reach the host
    bind         the rootfs onto itself: pivot_root wants a mount point
    populate     the config's mounts in order, then device nodes and links in /dev
      (here the createRuntime hooks run on the host, createContainer hooks inside)
    pivot        the rootfs becomes /, the old root falls off
    finish       read-only mounts that were filled, read-only root, read-only and masked paths

The rootfs is written by strangers, so no path in it is ever used as it stands: each is resolved by the kernel as if
the rootfs were / (linux/paths.py), and what is mounted is mounted on the open descriptor. All of this runs in the
child, after fork; it imports nothing.

Source: runtime-spec 1.3 config.md#mounts, config-linux.md. Behaviour where that is silent: runc@76d9cf5
libcontainer/rootfs_linux.go.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from ..linux import cgroup, paths, selinux
from ..linux.mount import MNT, MS, mount, mount_setattr, move_mount, open_tree, pivot_root, umount
from ..linux.mount_options import PROPAGATION, MountOptions, parse_mount_options
from ..linux.mountinfo import mount_of
from ..linux.tell import step
from . import copyup
from .words import sentence

if TYPE_CHECKING:
    from ..oci.runtime import Mount, Spec

# What lxcfs and its like may put over single files of /proc; anything else there could lie to security code.
_ALLOWED_IN_PROC = frozenset(
    "/proc/" + name
    for name in [
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
        "slabinfo",
        "net/dev",
        "sys/kernel/ns_last_pid",
        "sys/crypto/fips_enabled",
    ]
)
_KERNEL_VIEWS = frozenset({"proc", "sysfs"})
_LABELLED_BY_POLICY = frozenset({*_KERNEL_VIEWS, "cgroup2", "mqueue"})
"""Where mountLabel, as an option of the mount, is not for; a queue's folder is given it afterwards."""


def detach(propagation: str) -> None:
    """Make the mounts of this new namespace deaf or dumb towards the host: *propagation* of the config, else rslave."""
    if propagation in ("unbindable", "runbindable"):
        propagation = "rslave"  # now is when it has to be bound; finish() makes it so
    mount("", "/", "", PROPAGATION[propagation or "rslave"] | MS.REC)


def bind(rootfs: str) -> int:
    """Mount *rootfs* onto itself; an O_PATH descriptor of that mount, and the working directory in it."""
    parent = mount_of(rootfs)
    if any(field.startswith("shared:") for field in parent.propagation):
        # pivot_root refuses a shared parent, and it would carry our mounts to its peers.
        mount("", parent.target, "", MS.PRIVATE)
    mount(rootfs, rootfs, "", MS.BIND | MS.REC)
    os.chdir(rootfs)
    return os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def populate(root: int, config: Spec, bundle: str, trees: dict[int, int]) -> None:
    """Make every mount of the config, in its order; the error names the one that failed.

    *trees* are the sources that the parent took in hand, by the number of their mount.
    """
    for number, each in enumerate(config.get("mounts") or []):
        options = parse_mount_options(each.get("options") or [], each.get("type", ""))
        where = each["destination"]
        try:
            with step(f"mount {each.get('type') or 'bind'} at {where}", spec="runtime-spec config.md#mounts"):
                if number in trees:
                    source = os.path.join(bundle, each.get("source", ""))
                    _attach(root, where, options, source, trees[number])
                else:
                    _mount_one(root, each, options, bundle, config)
        except OSError as error:
            source = each.get("source") or each.get("type") or "none"
            told = f'error mounting "{source}" to rootfs at "{where}": {sentence(error)}'
            raise OSError(error.errno, told) from error
    cwd = config["process"].get("cwd", "/") if "process" in config else "/"
    with step(f"the working directory {cwd}, made if it is missing"):
        os.close(paths.make_folders(root, cwd))


def _mount_one(root: int, each: Mount, options: MountOptions, bundle: str, config: Spec) -> None:
    fstype, source, where = each.get("type", ""), each.get("source", ""), each["destination"]
    if options.is_bind:
        source = os.path.join(bundle, source)
    was_there = fstype == "tmpfs" and _is_there(root, where)
    target = _target(root, where, fstype, source if options.is_bind else None)
    _check_proc(root, target, where, fstype, source if options.is_bind else None)
    if fstype == "cgroup":
        fstype, source, options = _cgroup_mount(options, config)
    elif was_there and "mode=" not in options.data:
        # A tmpfs over a folder of the image keeps that folder's mode: /tmp stays 1777.
        mode = f"mode={stat.S_IMODE(os.fstat(target).st_mode):o}"
        options = options._replace(data=f"{options.data},{mode}" if options.data else mode)
    label = config.get("linux", {}).get("mountLabel", "")
    if label and not options.is_bind and fstype not in _LABELLED_BY_POLICY:
        options = options._replace(data=selinux.mount_data(options.data, label))
    flags = options.flags & (MS.BIND | MS.REC) if options.is_bind else options.flags
    if _is_closed_at_the_end(each, options):
        flags &= ~MS.RDONLY
    if "tmpcopyup" in options.words:
        _mount_copy(root, target, where, source, flags, options.data)
    else:
        mount(source, paths.through(target), "" if options.is_bind else fstype, flags, options.data)
    os.close(target)
    if label and fstype == "mqueue":  # knows no option for it
        top = paths.open_in_root(root, where)
        selinux.label_file(paths.through(top), label)
        os.close(top)
    _adjust(root, where, options)


def _is_closed_at_the_end(each: Mount, options: MountOptions) -> bool:
    """Whether a mount that is to be read-only is so only in finish(): devices, and other mounts, are made in it."""
    fills_up = each.get("type") == "tmpfs" or os.path.normpath(each["destination"]) == "/dev"
    return fills_up and not options.is_bind and bool(options.flags & MS.RDONLY)


def _mount_copy(root: int, target: int, where: str, source: str, flags: int, data: str) -> None:
    """A tmpfs with what lies under it."""
    below = os.open(paths.through(target), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    mount(source, paths.through(target), "tmpfs", flags, data)
    above = paths.open_in_root(root, where, os.O_RDONLY | os.O_DIRECTORY)
    try:
        copyup.copy(below, above)
    finally:
        os.close(below)
        os.close(above)


def _attach(root: int, where: str, options: MountOptions, source: str, tree: int) -> None:
    """Put the detached mount *tree* in its place; the way to its *source* may be closed to us."""
    is_folder = stat.S_ISDIR(os.fstat(tree).st_mode)
    target = paths.make_folders(root, where) if is_folder else paths.make_file(root, where)
    _check_proc(root, target, where, "bind", source)
    move_mount(tree, target)
    os.close(target)
    os.close(tree)
    _adjust(root, where, options)


def _target(root: int, where: str, fstype: str, bound: str | None) -> int:
    """A descriptor of the mount point, made if missing: a file when a file is bound over it, else a folder."""
    if fstype in _KERNEL_VIEWS:
        # No symbolic link here: what lies at /proc has to be what is asked for later as /proc.
        os.close(paths.make_folders(root, where))
        return paths.open_in_root(root, where, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    if bound is not None and not os.path.isdir(bound):
        _require(bound)  # a missing source is the better error
        return paths.make_file(root, where)
    return paths.make_folders(root, where)


def _is_there(root: int, where: str) -> bool:
    try:
        os.close(paths.open_in_root(root, where))
    except OSError as error:
        if paths.is_missing(error):
            return False
        raise
    return True


def _require(path: str) -> None:
    try:
        os.stat(path)
    except OSError as error:
        error.add_note("system call: stat(2)")
        raise


def _check_proc(root: int, target: int, where: str, fstype: str, bound: str | None) -> None:
    """Refuse to put anything over /proc or into it that could pass for the kernel's word.

    Raises:
        PermissionError: in runc's words.
    """
    inside = os.readlink(paths.through(target)).removeprefix(os.readlink(paths.through(root)).rstrip("/"))
    if inside == "/proc":
        if fstype != "proc" and not (bound and mount_of(bound).fstype == "proc"):
            raise PermissionError(errno.EPERM, f'"{where}" cannot be mounted because it is not of type proc')
    elif inside.startswith("/proc/") and inside not in _ALLOWED_IN_PROC:
        raise PermissionError(errno.EPERM, f'"{where}" cannot be mounted because it is inside /proc')


def _cgroup_mount(options: MountOptions, config: Spec) -> tuple[str, str, MountOptions]:
    """A mount of type cgroup means the version 2 tree, seen from the container's own group."""
    has_namespace = any(each["type"] == "cgroup" for each in config.get("linux", {}).get("namespaces", []))
    if has_namespace:
        return "cgroup2", "cgroup", options._replace(data="")
    from_host = options._replace(flags=options.flags | MS.BIND, data="")
    return "", cgroup.tree() + cgroup.own(), from_host


def _adjust(root: int, where: str, options: MountOptions) -> None:
    """What mount(2) does only in further calls, on a descriptor of the new mount (the old one is now beneath it)."""
    needs_remount = options.is_bind and options.remount_flags
    if not (needs_remount or options.propagation or options.recursive_set or options.recursive_clear):
        return
    top = paths.open_in_root(root, where)
    try:
        if needs_remount:
            _remount(paths.through(top), options.remount_flags)
        for propagation in options.propagation:
            mount("", paths.through(top), "", propagation)
        if options.recursive_set or options.recursive_clear:
            mount_setattr(top, set=options.recursive_set, clear=options.recursive_clear, recursive=True)
    finally:
        os.close(top)


def _remount(target: str, flags: int) -> None:
    """Set the flags of a bind mount. In a user namespace those it came with are locked: then keep them as well."""
    try:
        mount("", target, "", MS.REMOUNT | MS.BIND | flags)
    except PermissionError:
        mount("", target, "", MS.REMOUNT | MS.BIND | flags | _flags_of(target))


def _flags_of(path: str) -> int:
    """The flags that the mount at *path* has; statvfs numbers them as mount(2) does."""
    return os.statvfs(path).f_flag & (MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC | MS.NOATIME | MS.NODIRATIME)


def pivot(root: int) -> None:
    """Make *root* the root of the mount namespace, and detach the old one with everything below it.

    Both arguments of pivot_root are the same folder: the old root ends up on top of the new one, so no folder for
    it has to be made. It is made a slave first, so that detaching it is not felt on the host.
    """
    old = os.open("/", os.O_DIRECTORY | os.O_RDONLY | os.O_CLOEXEC)
    os.fchdir(root)
    pivot_root(".", ".")
    os.fchdir(old)
    mount("", ".", "", MS.SLAVE | MS.REC)
    umount(".", MNT.DETACH)
    os.close(old)
    os.chdir("/")


def move(root: int) -> None:
    """Without pivot_root, on a ramdisk that cannot be pivoted: move the rootfs over / and chroot into it."""
    os.fchdir(root)
    mount(".", "/", "", MS.MOVE)
    os.chroot(".")
    os.chdir("/")


def finish(config: Spec) -> None:
    """With the container's root in place: make read-only what has to be, and hide what must not be seen."""
    linux = config.get("linux", {})
    for each in config.get("mounts") or []:
        options = parse_mount_options(each.get("options") or [], each.get("type", ""))
        if _is_closed_at_the_end(each, options):
            where = each["destination"]
            with step(f"{where} is complete, and read-only from now on", spec="runtime-spec config.md#mounts"):
                _remount(where, options.flags | _flags_of(where))
    with step("a read-only root, if wanted, and its propagation", spec="runtime-spec config.md#root"):
        if propagation := linux.get("rootfsPropagation"):
            mount("", "/", "", PROPAGATION[propagation])
        if config.get("root", {}).get("readonly"):
            _remount("/", MS.RDONLY | _flags_of("/"))
    with step("read-only paths: bound onto themselves, remounted", spec="runtime-spec config-linux.md#readonly-paths"):
        for path in linux.get("readonlyPaths") or []:
            _make_read_only(path)
    with step(
        "masked paths: /dev/null over files, tmpfs over folders",
        spec="runtime-spec config-linux.md#masked-paths",
    ):
        for path in linux.get("maskedPaths") or []:
            _mask(path, linux.get("mountLabel", ""))


def _make_read_only(path: str) -> None:
    try:
        mount(path, path, "", MS.BIND | MS.REC)
    except OSError as error:
        if paths.is_missing(error):
            return  # this kernel has no such file
        raise
    _remount(path, MS.RDONLY | _flags_of(path))


def _mask(path: str, label: str) -> None:
    """Hide *path*: an empty read-only folder over a folder, /dev/null over a file; nothing there needs nothing."""
    if os.path.isdir(path):
        mount("tmpfs", path, "tmpfs", MS.RDONLY, selinux.mount_data("", label) if label else "")
    elif os.path.exists(path):
        null = open_tree("/dev/null", clone=True)  # in hand before it is looked at: it cannot be changed in between
        _expect_null(null)
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
        move_mount(null, target)
        os.close(target)
        os.close(null)


def reopen_null() -> None:
    """Standard streams that are the host's /dev/null become the container's, which lives by its own rules."""
    for descriptor in (0, 1, 2):
        if _is_null(descriptor):
            fresh = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            _expect_null(fresh)
            os.dup2(fresh, descriptor)
            os.close(fresh)


def _expect_null(descriptor: int) -> None:
    """The image may have brought its own /dev/null, and then whatever it covers would be what that is.

    Raises:
        PermissionError: it is something else.
    """
    if not _is_null(descriptor):
        raise PermissionError(errno.EPERM, "/dev/null in the container is not the device 1:3, and would hide nothing")


def _is_null(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)
