"""From which memory nodes the caller's pages come: set_mempolicy(2). It survives execve, and children inherit it.

On a machine with several memory controllers, a page is near to some processors and far from others. The policy says
where new pages are taken from; the nodes are given as a mask of bits. On a machine with one node there is only node 0.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from .libc import os_error, syscall
from .tell import act

_SET_MEMPOLICY = {"x86_64": 238, "aarch64": 237}.get(os.uname().machine, 0)

MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
FLAGS = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15}


@act("set_mempolicy(2)")
def set_memory_policy(mode: str, nodes: set[int], flags: Iterable[str] = ()) -> None:
    """Take pages as *mode* says, by its ``MPOL_`` name, from *nodes*.

    Raises:
        OSError: EINVAL, the mode wants nodes or wants none, none of them is there, or an old kernel does not know it.
    """
    value = MODES[mode] | sum(FLAGS[flag] for flag in flags)
    if not nodes:
        result = syscall(_SET_MEMPOLICY, value, None, 0)
    else:
        words = max(nodes) // 64 + 1
        mask = ctypes.create_string_buffer(sum(1 << node for node in nodes).to_bytes(8 * words, "little"), 8 * words)
        result = syscall(_SET_MEMPOLICY, value, mask, 64 * words + 1)  # the kernel takes one bit less than it is told
    if result == -1:
        raise os_error("set_mempolicy(2)")
