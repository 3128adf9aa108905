"""What a process carries along: its schedule, processors, memory policy, personality, limits.

Each is a property of the caller that children and execve inherit, so it is set once, in the child, before the program
is there. What the config may say is checked in the parent, before anything is done: the kernel would refuse most of it
too, but with no more than EINVAL.

============== ==================================== =========================================
by the child   scheduler, ioPriority                program.schedule
               memoryPolicy, personality            :func:`apply`
by the parent  rlimits, with the host's rights      program.limit
               execCPUAffinity, for ``exec`` alone  join.execute
============== ==================================== =========================================

Source: runtime-spec 1.3 config.md#posix-process, #linux-process, config-linux.md#memory-policy, #personality.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidArgument
from ..linux import capabilities, memory_policy, process, scheduling

if TYPE_CHECKING:
    from ..oci.runtime import Capabilities, IOPriority, Linux, MemoryPolicy, Personality, Process, Rlimit, Scheduler

_DOMAINS = {"LINUX": process.PER_LINUX, "LINUX32": process.PER_LINUX32}
_WITHOUT_NODES = {"MPOL_DEFAULT", "MPOL_LOCAL"}
_MAY_HAVE_NODES = {*_WITHOUT_NODES, "MPOL_PREFERRED"}


def check(each: Process) -> None:
    """Look at the attributes of a process, of a config or of ``exec``.

    Raises:
        InvalidArgument: with the first thing found.
    """
    _check_limits(each.get("rlimits") or [])
    _check_capabilities(each.get("capabilities") or {})
    if scheduler := each.get("scheduler"):
        _check_schedule(scheduler)
    if priority := each.get("ioPriority"):
        _check_io_priority(priority)
    for cpus in (each.get("execCPUAffinity") or {}).values():
        numbers_in(str(cpus))


def check_container(linux: Linux) -> None:
    """Look at what every process of the container has in common.

    Raises:
        InvalidArgument: with the first thing found.
    """
    if policy := linux.get("memoryPolicy"):
        _check_memory_policy(policy)
    if personality := linux.get("personality"):
        _check_personality(personality)


def apply(linux: Linux) -> None:
    """Give the caller what every process of the container has."""
    if policy := linux.get("memoryPolicy"):
        nodes = numbers_in(policy.get("nodes") or "")
        memory_policy.set_memory_policy(policy["mode"], nodes, policy.get("flags") or [])
    if personality := linux.get("personality"):
        process.set_personality(_DOMAINS[personality["domain"]])


def _check_capabilities(granted: Capabilities) -> None:
    if missing := sorted(set(granted.get("effective", [])) - set(granted.get("permitted", []))):
        raise InvalidArgument(f"unable to apply caps: {' '.join(missing)} would be in effect, but is not permitted")


def ungranted(granted: Capabilities | None) -> list[str]:
    """The capabilities that the config names and that nobody here can give: unknown ones, and what we lack."""
    names = {name for each in (granted or {}).values() for name in each}  # type: ignore[attr-defined]
    ours = capabilities.bounding()
    return sorted(name for name in names if not capabilities.mask_of([name]) & ours)


def numbers_in(text: str) -> set[int]:
    """The processors or memory nodes of a list as the kernel writes it.

    >>> sorted(numbers_in("0-2,7")), numbers_in("")
    ([0, 1, 2, 7], set())

    Raises:
        InvalidArgument: it is no such list.
    """
    found: set[int] = set()
    for part in text.split(",") if text else []:
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or int(last or first) > 65535:
            raise InvalidArgument(f"{text!r} is no list of numbers and ranges like 0-3,7")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _check_limits(limits: list[Rlimit]) -> None:
    seen = set()
    for each in limits:
        if each["type"] not in process.LIMITS:
            raise InvalidArgument(f"invalid rlimit type: {each['type']}")
        if each["type"] in seen:
            raise InvalidArgument(f"duplicated rlimit type: {each['type']}")
        seen.add(each["type"])


def _check_schedule(scheduler: Scheduler) -> None:
    policy, nice = scheduler.get("policy", ""), scheduler.get("nice", 0)
    if policy not in scheduling.POLICIES:
        raise InvalidArgument(f"invalid scheduler policy: {policy!r}")
    if policy in ("SCHED_OTHER", "SCHED_BATCH") and not -20 <= nice <= 19:
        raise InvalidArgument(f"invalid scheduler.nice: {nice} when scheduler.policy is {policy}")
    if scheduler.get("priority") and policy not in ("SCHED_FIFO", "SCHED_RR"):
        raise InvalidArgument("scheduler.priority can only be specified for SchedFIFO or SchedRR policy")
    times = (scheduler.get("runtime"), scheduler.get("deadline"), scheduler.get("period"))
    if any(times) and policy != "SCHED_DEADLINE":
        raise InvalidArgument("scheduler runtime/deadline/period can only be specified for SchedDeadline policy")
    if unknown := set(scheduler.get("flags") or []) - set(scheduling.FLAGS):
        raise InvalidArgument(f"invalid scheduler flag: {min(unknown)!r}")


def _check_io_priority(priority: IOPriority) -> None:
    if priority.get("class") not in scheduling.IO_CLASSES:
        raise InvalidArgument(f"invalid ioPriority.class: {priority.get('class')!r}")
    if not 0 <= priority.get("priority", 0) <= 7:
        raise InvalidArgument(f"invalid ioPriority.priority: {priority['priority']}")


def _check_memory_policy(policy: MemoryPolicy) -> None:
    mode, nodes = policy.get("mode", ""), numbers_in(policy.get("nodes") or "")
    if mode not in memory_policy.MODES:
        raise InvalidArgument(f"invalid memory policy mode: {mode!r}")
    if nodes and mode in _WITHOUT_NODES:
        raise InvalidArgument(f"memory policy mode {mode} requires 0 nodes but got {len(nodes)}")
    if not nodes and mode not in _MAY_HAVE_NODES:
        raise InvalidArgument(f"memory policy mode {mode} requires at least one node but got 0")
    if unknown := set(policy.get("flags") or []) - set(memory_policy.FLAGS):
        raise InvalidArgument(f"invalid memory policy flag: {min(unknown)!r}")


def _check_personality(personality: Personality) -> None:
    if personality.get("domain") not in _DOMAINS:
        raise InvalidArgument(f"invalid personality domain {personality.get('domain')!r}")
    if flags := personality.get("flags"):
        raise InvalidArgument(f"invalid personality flag {flags[0]!r}: there are none yet")
