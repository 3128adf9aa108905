"""``events``: what a container uses, as JSON, one line each time; and when the kernel killed for want of memory.

The shape is runc's, which was made for version 1 of cgroups. What version 2 has under another name is put where it
belongs there; what it does not have (processor by processor, kernel memory) is left out, and so is everything of a
controller that is not there: a number that nobody counted would look as if it were 0.

Source: runc@76d9cf5 events.go, types/events.go; Linux Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import json
import os
import re
import select
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import FailedPrecondition, InvalidArgument
from ..linux import cgroup
from .attributes import numbers_in

if TYPE_CHECKING:
    from .state import Container

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LOOK_AGAIN = 0.2


def lines(container: Container, interval: float) -> Iterator[str]:
    """Statistics every *interval* seconds, and a line for each time the OOM killer struck, until the container ends."""
    watched = os.pidfd_open(container.pid)
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    killed, waited = cgroup.oom_kills(container.cgroup), interval
    try:
        while True:
            if waited >= interval:
                yield _line("stats", container.id, of(container.cgroup))
                waited = 0.0
            ended = bool(poll.poll(1000 * min(_LOOK_AGAIN, interval - waited)))
            waited += min(_LOOK_AGAIN, interval - waited)
            for _ in range(killed, killed := max(killed, cgroup.oom_kills(container.cgroup))):
                yield _line("oom", container.id)
            if ended:
                return
    finally:
        os.close(watched)


def once(container: Container) -> str:
    """The one line of ``events --stats``."""
    return _line("stats", container.id, of(container.cgroup))


def check(container: Container) -> None:
    """Refuse a container of which nothing can be counted any more.

    Raises:
        FailedPrecondition: it has stopped.
    """
    if container.status() == "stopped":
        raise FailedPrecondition(f"container with id {container.id} is not running")


def of(folder: str) -> dict[str, Any]:
    """What the processes of the group *folder* use; times in nanoseconds, memory in bytes."""
    return {
        "cpu": _cpu(cgroup.flat(folder, "cpu.stat")),
        "cpuset": _present(cpus=_list(folder, "cpuset.cpus.effective"), mems=_list(folder, "cpuset.mems.effective")),
        "memory": _memory(folder),
        "pids": _present(current=len(cgroup.processes(folder)), limit=_limit_of_tasks(folder)),
        "blkio": _present(ioServiceBytesRecursive=_io(folder, "bytes"), ioServicedRecursive=_io(folder, "ios")),
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": None,
    }


def seconds_in(text: str) -> float:
    """A duration as Go writes it.

    >>> seconds_in("5s"), seconds_in("1m30s"), seconds_in("250ms")
    (5.0, 90.0, 0.25)

    Raises:
        InvalidArgument: it is none, or not above 0.
    """
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        raise InvalidArgument(f'invalid value "{text}" for flag -interval: parse error')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise InvalidArgument("duration interval must be greater than 0")
    return seconds


def _line(kind: str, id: str, data: dict[str, Any] | None = None) -> str:
    return json.dumps({"type": kind, "id": id, **({"data": data} if data else {})}, separators=(",", ":"))


def _cpu(found: dict[str, int]) -> dict[str, Any]:
    usage = {"total": "usage_usec", "kernel": "system_usec", "user": "user_usec"}
    return {
        "usage": {name: 1000 * found[file] for name, file in usage.items() if file in found},
        "throttling": {
            **({"periods": found["nr_periods"]} if found.get("nr_periods") else {}),
            **({"throttledPeriods": found["nr_throttled"]} if found.get("nr_throttled") else {}),
            **({"throttledTime": 1000 * found["throttled_usec"]} if found.get("throttled_usec") else {}),
        },
    }


def _memory(folder: str) -> dict[str, Any]:
    raw, events = cgroup.flat(folder, "memory.stat"), cgroup.flat(folder, "memory.events")
    used, swapped = cgroup.number(folder, "memory.current"), cgroup.number(folder, "memory.swap.current")
    usage = _present(
        limit=cgroup.number(folder, "memory.max"),
        usage=used,
        max=cgroup.number(folder, "memory.peak"),
        failcnt=events.get("max"),
    )
    swap = _present(limit=cgroup.number(folder, "memory.swap.max"), usage=swapped)
    return _present(cache=raw.get("file"), usage=usage or None, swap=swap or None, raw=raw or None)


def _io(folder: str, what: str) -> list[dict[str, Any]] | None:
    entries = []
    for major, minor, values in cgroup.io(folder):
        for op, letter in (("Read", "r"), ("Write", "w")):
            if (value := values.get(letter + what)) is not None:
                entries.append({"major": major, "minor": minor, "op": op, "value": value})
    return entries or None


def _limit_of_tasks(folder: str) -> int | None:
    limit = cgroup.number(folder, "pids.max")
    return None if limit == cgroup.UNLIMITED else limit


def _list(folder: str, name: str) -> list[int] | None:
    return sorted(numbers_in(_text(folder, name).strip())) or None


def _text(folder: str, name: str) -> str:
    try:
        return cgroup.read(folder, name)
    except OSError:
        return ""  # no such controller here, or the group is gone


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
