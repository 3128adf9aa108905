"""A container's cgroup as a unit of systemd's: what the unit is called, where its cgroup is, what its limits are.

::

    cgroupsPath "system.slice:pre:one"   unit pre-one.scope   /system.slice/pre-one.scope
    cgroupsPath "a-b.slice:pre:one"      unit pre-one.scope   /a.slice/a-b.slice/pre-one.scope
    none                                 unit minirunc-ID.scope in system.slice, an ordinary user's in user.slice

A scope is born around a process, and the container's first is born into a cgroup (birth.py). So a placeholder is there
before it: a child that does nothing, and ends when the container is made. From then on the group is like any other; it
is *delegated*, which is systemd's word for leaving alone what is inside. Only limits are told to systemd besides being
written, for at its next reload it writes those that it knows.

Source: runtime-spec 1.3 config-linux.md#cgroups-path; runc@76d9cf5 docs/systemd.md; systemd.slice(5),
systemd.resource-control(5) of systemd 252.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InvalidArgument
from ..linux import cgroup, process
from ..linux.tell import step
from . import limits
from .attributes import numbers_in
from .systemd import Manager, Property

if TYPE_CHECKING:
    from ..oci.runtime import Resources, Spec

_NUMBERS = {
    "cpu.weight": "CPUWeight",
    "io.weight": "IOWeight",
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.max": "MemoryMax",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
}
_MOST = 8191  # processors or nodes of memory: what a kernel can be built for
_SETS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}


class Unit(NamedTuple):
    """A scope and the slice that it is in."""

    slice: str
    name: str


def unit_of(config: Spec, id: str) -> Unit:
    """The unit that the config asks for.

    >>> unit_of({"linux": {"cgroupsPath": "system.slice:pre:one"}}, "one")
    Unit(slice='system.slice', name='pre-one.scope')

    Raises:
        InvalidArgument: its cgroupsPath is no name of a unit.
    """
    path = config.get("linux", {}).get("cgroupsPath", "")
    default = "system.slice" if os.geteuid() == 0 else "user.slice"
    parts = (path or f":minirunc:{id}").split(":")
    if len(parts) != 3:
        raise InvalidArgument(
            f'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "{path}" instead'
        )
    slice, prefix, name = parts
    if not name or "/" in prefix + name or name.endswith(".slice"):
        raise InvalidArgument(f"cgroupsPath {path!r} names no scope: the name is {name!r}, the prefix {prefix!r}")
    return Unit(slice or default, f"{prefix}-{name}.scope" if prefix else f"{name}.scope")


def folder_of(unit: Unit) -> str:
    """The folder of the unit's cgroup, there or not.

    Raises:
        InvalidArgument: its slice's name is none.
        FailedPrecondition: no systemd answers, which knows where our user's units are.
    """
    top = ""
    if os.geteuid() != 0:
        with Manager() as manager:
            top = manager.top()
    return os.path.join(cgroup.tree() + top, *_way(unit.slice), unit.name)


def _way(slice: str) -> list[str]:
    """A slice's name as the way to it.

    >>> _way("a-b-c.slice"), _way("-.slice")
    (['a.slice', 'a-b.slice', 'a-b-c.slice'], [])
    """
    words = slice.removesuffix(".slice").split("-")
    if slice == "-.slice":
        return []
    if not slice.endswith(".slice") or "/" in slice or not all(words):
        raise InvalidArgument(f"invalid slice name: {slice}")
    return [f"{'-'.join(words[:number])}.slice" for number in range(1, len(words) + 1)]


@contextlib.contextmanager
def started(unit: Unit, id: str, resources: Resources) -> Iterator[None]:
    """Have the scope made with its limits, and hold it until somebody else is in its cgroup.

    The limit of tasks is left out: as it is for the files, it would count who is born.

    Raises:
        FailedPrecondition: systemd does not want to.
    """
    with _placeholder() as pid:
        with step("a scope for the container, made by systemd", spec="org.freedesktop.systemd1(5)"):
            others: Resources = {**resources}
            others.pop("pids", None)
            with Manager() as manager:
                manager.start(unit.name, [*_nature(unit, id, pid), *properties(others)])
        yield


@contextlib.contextmanager
def _placeholder() -> Iterator[int]:
    """A child that does nothing, for as long as this block lasts."""
    pid = process.fork()
    if pid == 0:
        while True:
            signal.pause()
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _nature(unit: Unit, id: str, pid: int) -> list[Property]:
    accounting = [f"{what}Accounting" for what in ("CPU", "IO", "Memory", "Tasks")]
    return [
        ("Description", ("s", f"minirunc container {id}")),
        ("Slice", ("s", unit.slice)),
        ("PIDs", ("au", [pid])),
        ("Delegate", ("b", True)),
        ("DefaultDependencies", ("b", False)),
        *((name, ("b", True)) for name in accounting),
    ]


def limit(name: str, resources: Resources) -> None:
    """Tell systemd of limits of the unit that change, or that come late.

    Raises:
        FailedPrecondition: systemd does not want them.
    """
    if wanted := properties(resources):
        with Manager() as manager:
            manager.set(name, wanted)


def stop(name: str) -> None:
    """Have the scope stopped, and forgotten; none there is fine."""
    with Manager() as manager:
        manager.stop(name)


def properties(resources: Resources) -> list[Property]:
    """The limits as systemd knows them. Those of a single device and of huge pages it does not, or not like this.

    >>> properties({"memory": {"limit": 4096}, "cpu": {"quota": 20000, "cpus": "0-1,9"}, "pids": {"limit": -1}})
    ... # doctest: +NORMALIZE_WHITESPACE
    [('CPUQuotaPeriodUSec', ('t', 100000)), ('CPUQuotaPerSecUSec', ('t', 200000)),
     ('AllowedCPUs', ('ay', b'\\x03\\x02')), ('MemoryMax', ('t', 4096)), ('TasksMax', ('t', 18446744073709551615))]
    """
    found: list[Property] = []
    for setting in limits.of(resources):
        if setting.name == "cpu.max":
            found += _quota(setting.text)
        elif setting.name in _SETS:
            found.append((_SETS[setting.name], ("ay", _bits(setting.text))))
        elif setting.name in _NUMBERS and (number := _number(setting.text)) is not None:
            found.append((_NUMBERS[setting.name], ("t", number)))
    return found


def _number(text: str) -> int | None:
    """None for what is not one number: ``8:0 500``, the weight of one device."""
    return cgroup.UNLIMITED if text == "max" else int(text) if text.isdecimal() else None


def _quota(text: str) -> list[Property]:
    """``QUOTA PERIOD``, both in microseconds, as a share of each second; systemd wants whole hundredths."""
    quota, _, period = text.partition(" ")
    each = int(period or 100_000)
    share = cgroup.UNLIMITED if quota == "max" else -(-int(quota) * 1_000_000 // each // 10_000) * 10_000
    return [("CPUQuotaPeriodUSec", ("t", each)), ("CPUQuotaPerSecUSec", ("t", share))]


def _bits(text: str) -> bytes:
    """A list of numbers, ``0-3,7``, as bits: the lowest of the first byte is 0.

    >>> _bits("0-3,7"), _bits("8")
    (b'\\x8f', b'\\x00\\x01')
    """
    numbers = numbers_in(text)
    if max(numbers, default=0) > _MOST:
        raise InvalidArgument(f"{text!r} is no list of numbers like 0-3,7, none above {_MOST}")
    mask = sum(1 << number for number in numbers)
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")
