"""Which process runs when, and on which processors: policy, I/O priority, affinity."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable, Iterator

from .libc import os_error, syscall
from .tell import act

_SETATTR, _IOPRIO_SET = {"x86_64": (314, 251), "aarch64": (274, 30)}.get(os.uname().machine, (0, 0))
POLICIES = ["SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"]
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 1,
    "SCHED_FLAG_RECLAIM": 2,
    "SCHED_FLAG_DL_OVERRUN": 4,
    "SCHED_FLAG_KEEP_POLICY": 8,
    "SCHED_FLAG_KEEP_PARAMS": 16,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 32,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 64,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}


class _Attributes(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    ]


@act("sched_setattr(2)")
def set_scheduler(
    policy: str,
    *,
    flags: Iterable[str] = (),
    nice: int = 0,
    priority: int = 0,
    runtime: int = 0,
    deadline: int = 0,
    period: int = 0,
) -> None:
    """Set the caller's policy, by its ``SCHED_`` name; the three times are in nanoseconds, for SCHED_DEADLINE.

    Raises:
        PermissionError: EPERM, no CAP_SYS_NICE.
        OSError: EINVAL, the values do not fit the policy.
    """
    bits = sum(FLAGS[flag] for flag in flags)
    size = ctypes.sizeof(_Attributes)
    attributes = _Attributes(size, POLICIES.index(policy), bits, nice, priority, runtime, deadline, period)
    if syscall(_SETATTR, 0, ctypes.cast(ctypes.pointer(attributes), ctypes.c_void_p), 0) == -1:
        raise os_error("sched_setattr(2)")


@act("ioprio_set(2)")
def set_io_priority(name: str, level: int) -> None:
    """Set the caller's I/O class, by its ``IOPRIO_CLASS_`` name, and *level* in it, 0 (first) to 7."""
    if syscall(_IOPRIO_SET, 1, 0, IO_CLASSES[name] << 13 | level) == -1:
        raise os_error("ioprio_set(2)")


@act("sched_setaffinity(2)")
def set_affinity(pid: int, processors: set[int]) -> None:
    """Let *pid* (0: the caller) run on *processors* only.

    Raises:
        OSError: EINVAL, none of them is there, or is in the cgroup's cpuset.
    """
    os.sched_setaffinity(pid, processors)


@contextlib.contextmanager
def running_on(processors: set[int]) -> Iterator[None]:
    """Run on *processors* only, in this block; who is forked in it stays there. An empty set changes nothing."""
    former = os.sched_getaffinity(0)
    if processors:
        set_affinity(0, processors)
    try:
        yield
    finally:
        if processors:
            set_affinity(0, former)
