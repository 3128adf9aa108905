"""A cgroup's files as the metrics message that containerd's clients know.

Only what a file says is in the message; where a controller is missing, so are its numbers.
Source: containerd/cgroups v3 cgroup2/stats/metrics.proto; Linux Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from typing import Any

from ...api.cgroups.v2.metrics_pb2 import CPUStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PidsStat
from ...linux import cgroup


def collect(folder: str) -> Metrics:
    """The metrics of the group *folder*."""
    metrics = Metrics()
    if (current := cgroup.number(folder, "pids.current")) is not None:
        metrics.pids.CopyFrom(PidsStat(current=current, limit=cgroup.number(folder, "pids.max") or 0))
    else:
        # The tree itself knows its members, with or without the controller.
        metrics.pids.CopyFrom(PidsStat(current=len(cgroup.processes(folder))))
    metrics.cpu.CopyFrom(CPUStat(**_known(CPUStat, cgroup.flat(folder, "cpu.stat"))))
    if memory := cgroup.flat(folder, "memory.stat"):
        metrics.memory.CopyFrom(MemoryStat(**_known(MemoryStat, memory)))
        names = {
            "usage": "memory.current",
            "usage_limit": "memory.max",
            "swap_usage": "memory.swap.current",
            "swap_limit": "memory.swap.max",
            "max_usage": "memory.peak",
        }
        for field, file in names.items():
            setattr(metrics.memory, field, cgroup.number(folder, file) or 0)
        events = cgroup.flat(folder, "memory.events")
        metrics.memory_events.CopyFrom(MemoryEvents(**_known(MemoryEvents, events)))
    usage = [IOEntry(major=major, minor=minor, **_known(IOEntry, values)) for major, minor, values in cgroup.io(folder)]
    if usage:
        metrics.io.CopyFrom(IOStat(usage=usage))
    return metrics


def _known(kind: type, values: dict[str, int]) -> dict[str, Any]:
    """The values for which the message *kind* has a field."""
    fields = kind.DESCRIPTOR.fields_by_name  # type: ignore[attr-defined]
    return {name: value for name, value in values.items() if name in fields}
