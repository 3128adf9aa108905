"""What is bound into a container, taken in hand while the host's rights are still there.

A bind mount names a file of the host. By the time the child makes it, it may be root of a user namespace only, to
whom the way there is closed. So the parent takes a detached copy of each such mount, open_tree(2), and the child only
puts it in its place, move_mount(2). What stays unreachable even for the parent is left to the child, whose error is the
better one.

A copy that is attached nowhere can also be *id-mapped*: its files then look as if they had other owners. ::

    on the disk      the mount's mappings     through the mount, on the host     in the user namespace
    1000             0 ─▶ 100000 (1000 long)   101000                             1000

So a container whose root is 100000 outside sees a folder of root's as root's, and nothing was chowned. The kernel
takes the mappings from a user namespace (mappings.py), and the filesystem has to play along: ext4, xfs, btrfs and
others do since Linux 5.12 to 5.19, tmpfs since 6.3, overlayfs does not.

Source: runtime-spec 1.3 config.md#linux-mount-options, ``idmap`` and ``ridmap``; mount_setattr(2).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import FailedPrecondition
from ..linux.mount import ATTR, MS, mount_setattr, open_tree
from ..linux.mount_options import MountOptions, parse_mount_options
from ..linux.tell import step
from . import mappings
from .words import reason

if TYPE_CHECKING:
    from ..oci.runtime import Mount, Spec

Trees = tuple[tuple[int, int], ...]
"""Which mount of the config, counted from 0, and the descriptor of its source."""


def is_idmapped(each: Mount, options: MountOptions) -> bool:
    """Whether *each* is to be an id-mapped mount: by mappings of its own, or those of the container."""
    return bool(each.get("uidMappings") or each.get("gidMappings") or options.words & {"idmap", "ridmap"})


def open_trees(config: Spec, bundle: str, held: contextlib.ExitStack) -> Trees:
    """The sources of *config*'s bind mounts that the child could not reach, or not map; *held* closes them.

    Raises:
        FailedPrecondition: a filesystem or this kernel cannot map ids.
    """
    in_user_namespace = any(each["type"] == "user" for each in config.get("linux", {}).get("namespaces") or [])
    trees = []
    for number, each in enumerate(config.get("mounts") or []):
        options = parse_mount_options(each.get("options") or [], each.get("type", ""))
        if not options.is_bind:
            continue
        if is_idmapped(each, options):
            trees.append((number, _mapped(config, each, options, bundle, held)))
        elif in_user_namespace:
            with contextlib.suppress(OSError):
                trees.append((number, _open(each, options, bundle, held)))
    return tuple(trees)


def _open(each: Mount, options: MountOptions, bundle: str, held: contextlib.ExitStack) -> int:
    source = os.path.join(bundle, each.get("source", ""))
    tree = open_tree(source, clone=True, recursive=bool(options.flags & MS.REC))
    held.callback(os.close, tree)
    return tree


def _mapped(config: Spec, each: Mount, options: MountOptions, bundle: str, held: contextlib.ExitStack) -> int:
    with step(f"owners as {each['destination']} is to show them", spec="runtime-spec config.md#linux-mount-options"):
        try:
            tree = _open(each, options, bundle, held)
            with _user_namespace(config, each) as namespace:
                mount_setattr(tree, set=ATTR.IDMAP, userns=namespace, recursive="ridmap" in options.words)
        except OSError as error:
            told = f'failed to map the owners of "{each.get("source")}" for "{each["destination"]}": {reason(error)}'
            hint = "the filesystem or this kernel may have no id-mapped mounts, or the caller not the right"
            raise FailedPrecondition(f"{told} ({hint})") from error
    return tree


@contextlib.contextmanager
def _user_namespace(config: Spec, each: Mount) -> Iterator[int]:
    linux = config.get("linux", {})
    path = next((one.get("path", "") for one in linux.get("namespaces") or [] if one["type"] == "user"), "")
    if each.get("uidMappings"):
        namespace = mappings.namespace_for(each["uidMappings"], each["gidMappings"])
    elif path:
        namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    else:
        namespace = mappings.namespace_for(linux.get("uidMappings") or [], linux.get("gidMappings") or [])
    try:
        yield namespace
    finally:
        os.close(namespace)
