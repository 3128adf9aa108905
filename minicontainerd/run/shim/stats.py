"""A cgroup's files as the metrics message that containerd's clients know.

Only what a file says is in the message; where a controller is missing, so are its numbers.
Source: containerd/cgroups v3 cgroup2/stats/metrics.proto; Linux Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from typing import Any

from ...api.cgroups.v2.metrics_pb2 import CPUStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PidsStat
from ...linux import cgroup

_UNLIMITED = 2**64 - 1


def collect(folder: str) -> Metrics:
    """The metrics of the group *folder*."""
    metrics = Metrics()
    if (current := _number(folder, "pids.current")) is not None:
        metrics.pids.CopyFrom(PidsStat(current=current, limit=_number(folder, "pids.max") or 0))
    else:
        # The tree itself knows its members, with or without the controller.
        metrics.pids.CopyFrom(PidsStat(current=len(cgroup.processes(folder))))
    metrics.cpu.CopyFrom(CPUStat(**_known(CPUStat, _flat(folder, "cpu.stat"))))
    if memory := _flat(folder, "memory.stat"):
        metrics.memory.CopyFrom(MemoryStat(**_known(MemoryStat, memory)))
        names = {
            "usage": "memory.current",
            "usage_limit": "memory.max",
            "swap_usage": "memory.swap.current",
            "swap_limit": "memory.swap.max",
            "max_usage": "memory.peak",
        }
        for field, file in names.items():
            setattr(metrics.memory, field, _number(folder, file) or 0)
        events = _flat(folder, "memory.events")
        metrics.memory_events.CopyFrom(MemoryEvents(**_known(MemoryEvents, events)))
    if usage := _io(folder):
        metrics.io.CopyFrom(IOStat(usage=usage))
    return metrics


def oom_kills(folder: str) -> int:
    """How often the OOM killer has killed in the group."""
    return _flat(folder, "memory.events").get("oom_kill", 0)


def _number(folder: str, name: str) -> int | None:
    try:
        text = cgroup.read(folder, name)
    except OSError:
        return None  # no such controller here
    return _UNLIMITED if text == "max" else int(text)


def _flat(folder: str, name: str) -> dict[str, int]:
    try:
        return cgroup.parse_flat(cgroup.read(folder, name))
    except OSError:
        return {}


def _known(kind: type, values: dict[str, int]) -> dict[str, Any]:
    """The values for which the message *kind* has a field."""
    fields = kind.DESCRIPTOR.fields_by_name  # type: ignore[attr-defined]
    return {name: value for name, value in values.items() if name in fields}


def _io(folder: str) -> list[IOEntry]:
    try:
        lines = cgroup.read(folder, "io.stat").splitlines()
    except OSError:
        return []
    entries = []
    for line in lines:
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        values = {key: int(value) for key, value in (pair.split("=") for pair in pairs)}
        entries.append(IOEntry(major=int(major), minor=int(minor), **_known(IOEntry, values)))
    return entries
