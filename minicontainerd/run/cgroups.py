"""A container's cgroup: where it is, and the config's ``resources`` as the files of version 2.

The config still speaks version 1, in shares and in memory-plus-swap. Each value becomes a file::

    cpu.shares 2..262144        cpu.weight 1..10000
    cpu.quota, cpu.period       cpu.max "QUOTA PERIOD"
    memory.limit, swap          memory.max, memory.swap.max (swap alone)
    pids.limit                  pids.max
    unified {file: text}        that file, as it stands

On a hybrid host version 1 has the controllers, and the file is not there. Then a value that asks for nothing (shares
of 1024, which every client sends) is passed over, and any other is refused by name: a limit that is not applied
must not look as if it were. Device rules have no file in version 2; linux/bpf.py turns them into a program.

Source: runtime-spec 1.3 config-linux.md#control-groups; the conversions are runc@76d9cf5's, from
vendor/github.com/opencontainers/cgroups.
"""

from __future__ import annotations

import errno
import math
import os
import time
from typing import TYPE_CHECKING

from ..errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from ..linux import cgroup
from ..linux.tell import step
from . import device_rules

if TYPE_CHECKING:
    from ..oci.runtime import CPU, BlockIO, Memory, Resources, Spec

_MAX = "max"


def folder_of(config: Spec, id: str) -> str:
    """The folder of the container's cgroup: absolute paths count from the tree's root, others from our own group."""
    path = config.get("linux", {}).get("cgroupsPath", "")
    try:
        tree = cgroup.tree()
        base = "/" if path.startswith("/") else cgroup.own()
    except FileNotFoundError as error:
        raise FailedPrecondition(f"no version 2 cgroup tree on this host: {error}") from error
    inner = os.path.normpath("/" + (path or id)).lstrip("/")  # as if rooted: ".." cannot lead out of the tree
    if not inner:
        raise InvalidArgument(f"cgroupsPath {path!r} is the root of the tree")
    return os.path.join(tree, base.lstrip("/"), inner)


def create(folder: str, resources: Resources) -> None:
    """Make the group and set its limits, before any process is in it.

    Raises:
        FailedPrecondition: it has processes already, or a limit needs a controller that is not there.
    """
    with step("a cgroup for the container", spec="runtime-spec config-linux.md#control-groups"):
        if os.path.isdir(folder) and (found := cgroup.processes(folder)):
            raise FailedPrecondition(f"container's cgroup is not empty: {len(found)} process(es) found")
        cgroup.create(folder)
        cgroup.hand_down(cgroup.tree(), folder)
        apply(folder, {"devices": [], **resources})


def apply(folder: str, resources: Resources) -> None:
    """Write each limit that *resources* asks for.

    Raises:
        FailedPrecondition: its controller is not there; the message names it and the host's layout.
    """
    for name, text, is_default in wanted(resources):
        try:
            cgroup.write(folder, name, text)
        except FileNotFoundError as error:
            if not is_default:
                controller, there = name.partition(".")[0], " ".join(cgroup.controllers(folder)) or "none"
                raise FailedPrecondition(
                    f"cannot set {name} to {text!r}: this cgroup has no {controller!r} controller "
                    f"(the host's layout is {cgroup.layout()}; {folder} has: {there})"
                ) from error
    if "devices" in resources:
        device_rules.enforce(folder, resources["devices"])


def wanted(resources: Resources) -> list[tuple[str, str, bool]]:
    """The files to write: name, text, and whether that is what the kernel has anyway.

    >>> wanted({"cpu": {"shares": 1024}, "pids": {"limit": 7}})
    [('cpu.weight', '100', True), ('pids.max', '7', False)]
    """
    files = [*_cpu(resources.get("cpu") or {}), *_memory(resources.get("memory") or {})]
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None:
        files.append(("pids.max", str(limit) if limit > 0 else _MAX, limit <= 0))
    files += _block_io(resources.get("blockIO") or {})
    pages = resources.get("hugepageLimits") or []
    files += [(f"hugetlb.{page['pageSize']}.max", str(page["limit"]), False) for page in pages]
    for device, rdma in (resources.get("rdma") or {}).items():
        handles, objects = rdma.get("hcaHandles", _MAX), rdma.get("hcaObjects", _MAX)
        files.append(("rdma.max", f"{device} hca_handle={handles} hca_object={objects}", False))
    for name, text in (resources.get("unified") or {}).items():
        if "/" in name:
            raise InvalidArgument(f"unified resource {name!r} must be a file name (no slashes)")
        files.append((name, text, False))
    return files


def weight_of(shares: int) -> int:
    """A version 2 weight for version 1 *shares*: a curve through both ends and the two defaults.

    >>> [weight_of(shares) for shares in (2, 1024, 262144)]
    [1, 100, 10000]
    """
    if shares <= 2 or shares >= 262144:
        return 1 if shares <= 2 else 10000
    octaves = math.log2(shares)
    return math.ceil(10 ** ((octaves * octaves + 125 * octaves) / 612 - 7 / 34))


def _cpu(cpu: CPU) -> list[tuple[str, str, bool]]:
    files = []
    if shares := cpu.get("shares"):
        files.append(("cpu.weight", str(weight_of(shares)), shares == 1024))
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    if quota or period:
        text = f"{quota if quota > 0 else _MAX} {period or 100_000}"
        files.append(("cpu.max", text, quota <= 0 and period in (0, 100_000)))
    if burst := cpu.get("burst"):
        files.append(("cpu.max.burst", str(burst), False))
    if idle := cpu.get("idle"):
        files.append(("cpu.idle", str(idle), False))
    for word in ("cpus", "mems"):
        value = str(cpu.get(word) or "")
        files += [(f"cpuset.{word}", value, False)] if value else []
    return files


def _memory(memory: Memory) -> list[tuple[str, str, bool]]:
    files = []
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if swap > 0 and limit <= 0:
        raise InvalidArgument("unable to set swap limit without memory limit")
    if 0 < swap < limit:
        raise InvalidArgument("memory+swap limit should be >= memory limit")
    if swap:
        files.append(("memory.swap.max", _MAX if swap < 0 else str(swap - limit), swap < 0))
    if limit:
        files.append(("memory.max", _MAX if limit < 0 else str(limit), limit < 0))
    if reservation := memory.get("reservation"):
        files.append(("memory.low", _MAX if reservation < 0 else str(reservation), False))
    return files


def _block_io(block: BlockIO) -> list[tuple[str, str, bool]]:
    files = []
    if weight := block.get("weight"):
        # 10..1000 of version 1 onto 1..10000, as for the cpu.
        files.append(("io.weight", f"default {1 + (weight - 10) * 9999 // 990}", weight == 500))
    throttles = (
        ("rbps", block.get("throttleReadBpsDevice")),
        ("wbps", block.get("throttleWriteBpsDevice")),
        ("riops", block.get("throttleReadIOPSDevice")),
        ("wiops", block.get("throttleWriteIOPSDevice")),
    )
    for word, devices in throttles:
        files += [("io.max", f"{each['major']}:{each['minor']} {word}={each['rate']}", False) for each in devices or []]
    return files


def freeze(folder: str, *, frozen: bool, seconds: float = 10.0) -> None:
    """Stop every process of the group, or let them go on, and wait until that is so.

    Raises:
        DeadlineExceeded: it did not happen in *seconds*; a process hangs in the kernel.
    """
    cgroup.write(folder, "cgroup.freeze", "1" if frozen else "0")
    give_up = time.monotonic() + seconds
    while cgroup.events(folder).get("frozen") != int(frozen):
        if time.monotonic() > give_up:
            raise DeadlineExceeded(f"cgroup {folder} is not {'frozen' if frozen else 'thawed'} after {seconds} s")
        time.sleep(0.001)


def kill(folder: str) -> None:
    """Send SIGKILL to every process of the group and of those below it; a group that is gone has none."""
    try:
        cgroup.write(folder, "cgroup.kill", "1")
    except FileNotFoundError:
        pass  # never created, or removed by somebody who knew it empty


def remove(folder: str, seconds: float = 10.0) -> None:
    """Remove the group. Killed processes leave it only when they are reaped or nearly so, hence some patience.

    Raises:
        FailedPrecondition: processes are still in it after *seconds*.
    """
    give_up = time.monotonic() + seconds
    while True:
        try:
            return cgroup.remove(folder)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            if time.monotonic() > give_up:
                raise FailedPrecondition(f"unable to remove container's cgroup: {error}") from error
            time.sleep(0.002)
