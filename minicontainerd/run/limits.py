"""The config's ``resources`` as the files of cgroup version 2: which text goes into which file.

The config still speaks version 1, in shares and in memory-plus-swap. Each value becomes a file::

    cpu.shares 2..262144        cpu.weight 1..10000
    cpu.quota, cpu.period       cpu.max "QUOTA PERIOD"
    memory.limit, swap          memory.max, memory.swap.max (swap alone)
    blockIO.weight 10..1000     io.bfq.weight as it is, where that scheduler is; else io.weight 1..10000
    pids.limit                  pids.max
    hugepageLimits              hugetlb.SIZE.rsvd.max and hugetlb.SIZE.max
    unified {file: text}        that file, as it stands, line by line

What version 1 could do and version 2 cannot is refused, never passed over. Nothing here writes; cgroups.py does.

Source: runtime-spec 1.3 config-linux.md#control-groups; the conversions are runc@76d9cf5's, from
vendor/github.com/opencontainers/cgroups.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InvalidArgument, Unimplemented

if TYPE_CHECKING:
    from ..oci.runtime import CPU, BlockIO, HugepageLimit, Memory, Resources

_MAX = "max"


class Setting(NamedTuple):
    """One *text* to write to the file *name*; *is_optional*: where it is not there, that is the kernel's way anyway.

    *instead* is another file with its text, which is preferred where it is there.
    """

    name: str
    text: str
    is_optional: bool = False
    instead: tuple[str, str] = ("", "")


def of(resources: Resources) -> list[Setting]:
    """The files to write, in order.

    >>> for setting in of({"cpu": {"shares": 1024}, "pids": {"limit": 7}}): print(setting.name, setting.text)
    cpu.weight 100
    pids.max 7

    Raises:
        InvalidArgument: values that contradict each other.
        Unimplemented: only version 1 has that.
    """
    _refuse_version_1(resources)
    settings = [*_cpu(resources.get("cpu") or {}), *_memory(resources.get("memory") or {})]
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None:
        settings.append(Setting("pids.max", _text(limit), limit < 0))
    settings += _block_io(resources.get("blockIO") or {})
    settings += _huge_pages(resources.get("hugepageLimits") or [])
    for device, rdma in (resources.get("rdma") or {}).items():
        words = [f"hca_{word[3:-1].lower()}={rdma[word]}" for word in ("hcaHandles", "hcaObjects") if word in rdma]
        settings.append(Setting("rdma.max", " ".join([device, *words])))
    for name, text in (resources.get("unified") or {}).items():
        if "/" in name:
            raise InvalidArgument(f"unified resource {name!r} must be a file name (no slashes)")
        if "." not in name:
            raise InvalidArgument(f"unified resource {name!r} must be in the form CONTROLLER.PARAMETER")
        settings.append(Setting(name, text))
    return settings


def _refuse_version_1(resources: Resources) -> None:
    cpu, memory = resources.get("cpu") or {}, resources.get("memory") or {}
    block, network = resources.get("blockIO") or {}, resources.get("network") or {}
    asked = {
        "cpu.realtimeRuntime": cpu.get("realtimeRuntime"),
        "cpu.realtimePeriod": cpu.get("realtimePeriod"),
        "memory.swappiness": memory.get("swappiness"),
        "memory.disableOOMKiller": memory.get("disableOOMKiller"),
        "blockIO.leafWeight": block.get("leafWeight"),
        "network.classID": network.get("classID"),
        "network.priorities": network.get("priorities"),
    }
    for name, value in asked.items():
        if value:
            raise Unimplemented(f"resources.{name}: cgroup version 2 has nothing of that kind")


def weight_of(shares: int) -> int:
    """A version 2 weight for version 1 *shares*: a curve through both ends and the two defaults.

    >>> [weight_of(shares) for shares in (2, 1024, 262144)]
    [1, 100, 10000]
    """
    if shares <= 2 or shares >= 262144:
        return 1 if shares <= 2 else 10000
    octaves = math.log2(shares)
    return math.ceil(10 ** ((octaves * octaves + 125 * octaves) / 612 - 7 / 34))


def _cpu(cpu: CPU) -> list[Setting]:
    settings, idle = [], cpu.get("idle")
    if idle == 0:
        settings.append(Setting("cpu.idle", "0", True))  # first: an idle group has no weight
    if shares := cpu.get("shares"):
        settings.append(Setting("cpu.weight", str(weight_of(shares)), shares == 1024))
    quota, period, burst = cpu.get("quota") or 0, cpu.get("period") or 0, cpu.get("burst")
    if burst == 0:
        settings.append(Setting("cpu.max.burst", "0", True))  # first: it may be over the new quota
    if quota or period:
        text = f"{quota if quota > 0 else _MAX} {period or 100_000}"
        settings.append(Setting("cpu.max", text, quota <= 0 and period in (0, 100_000)))
    if burst:
        settings.append(Setting("cpu.max.burst", str(burst)))
    if idle:
        settings.append(Setting("cpu.idle", str(idle)))
    for word in ("cpus", "mems"):
        value = str(cpu.get(word) or "")
        settings += [Setting(f"cpuset.{word}", value)] if value else []
    return settings


def _memory(memory: Memory) -> list[Setting]:
    settings = []
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if limit == -1 and swap == 0:
        swap = -1  # no limit on memory is none on memory and swap either
    if swap > 0 and limit <= 0:
        raise InvalidArgument("unable to set swap limit without memory limit")
    if 0 < swap < limit:
        raise InvalidArgument("memory+swap limit should be >= memory limit")
    if swap:
        # Where there is no swap there is no file, and neither of the two extremes asks for any.
        settings.append(Setting("memory.swap.max", _text(swap if swap < 0 else swap - limit), swap in (-1, limit)))
    if limit:
        settings.append(Setting("memory.max", _text(limit), limit < 0))
    if reservation := memory.get("reservation"):
        settings.append(Setting("memory.low", _text(reservation), reservation < 0))
    return settings


def _text(number: int) -> str:
    return _MAX if number < 0 else str(number)


def _block_io(block: BlockIO) -> list[Setting]:
    settings = []
    if weight := block.get("weight"):
        settings += _io_weight("", weight)
    for each in block.get("weightDevice") or []:
        if weight := each.get("weight"):
            settings += _io_weight(f"{each['major']}:{each['minor']} ", weight)
    throttles = (
        ("rbps", block.get("throttleReadBpsDevice")),
        ("wbps", block.get("throttleWriteBpsDevice")),
        ("riops", block.get("throttleReadIOPSDevice")),
        ("wiops", block.get("throttleWriteIOPSDevice")),
    )
    for word, devices in throttles:
        lines = [f"{each['major']}:{each['minor']} {word}={each['rate']}" for each in devices or []]
        settings += [Setting("io.max", line) for line in lines]
    return settings


def _io_weight(device: str, weight: int) -> list[Setting]:
    """BFQ's weights are version 1's, 10 to 1000; the other file's 1 to 10000 are spread over them.

    >>> [setting.text for setting in _io_weight("", 500) + _io_weight("8:0 ", 1000)]
    ['4950', '8:0 10000']
    """
    spread = f"{device}{1 + (weight - 10) * 9999 // 990}"
    return [Setting("io.weight", spread, weight == 500, instead=("io.bfq.weight", f"{device}{weight}"))]


def _huge_pages(wanted: list[HugepageLimit]) -> list[Setting]:
    settings = []
    for page in wanted:
        # Pages are counted when they are reserved, where the kernel can do that: then a program is told in time.
        settings.append(Setting(f"hugetlb.{page['pageSize']}.rsvd.max", str(page["limit"]), True))
        settings.append(Setting(f"hugetlb.{page['pageSize']}.max", str(page["limit"])))
    return settings
