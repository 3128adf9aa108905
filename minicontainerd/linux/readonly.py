"""One file by a mount of its own, read-only and attached nowhere: what mount.py could do too, without importing it.

For whoever has to do this before anything else, and will be executed anew at once (run/shelter.py): the tables of
flags and the telling of steps, which every other file of this room has, cost more than the rest of such a life.
"""

from __future__ import annotations

import os
import struct

from .libc import os_error, syscall

_OPEN_TREE, _MOUNT_SETATTR = 428, 442
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE = 0x1
_MOUNT_ATTR_RDONLY = 0x1
_MOUNT_ATTR = struct.Struct("=QQQQ")  # set, clear, propagation, descriptor of a user namespace


def readonly_clone(path: str) -> int:
    """A descriptor of the file *path* on a read-only mount that is in no namespace, and is gone with its last user.

    Raises:
        PermissionError: EPERM, no CAP_SYS_ADMIN.
        OSError: ENOSYS, Linux before 5.12.
    """
    tree = syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    if tree == -1:
        raise os_error("open_tree(2)", path)
    attributes = _MOUNT_ATTR.pack(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    if syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attributes, _MOUNT_ATTR.size) == -1:
        error = os_error("mount_setattr(2)", path)
        os.close(tree)
        raise error
    return tree
