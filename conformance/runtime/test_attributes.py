"""What a process inherits and carries along: schedule, processors, memory, personality, keys, labels."""

from __future__ import annotations

import ctypes
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from .harness import Container, Failure, expect_gone

IOPRIO_GET, SCHED_GETATTR = {"x86_64": (252, 315), "aarch64": (31, 275)}[os.uname().machine]
KERNEL = tuple(int(part) for part in os.uname().release.split(".")[:2])
libc = ctypes.CDLL(None, use_errno=True)


def io_priority(pid: int) -> tuple[int, int]:
    """Class and level."""
    value = libc.syscall(IOPRIO_GET, 1, pid)
    return value >> 13, value & 7


def schedule(pid: int) -> dict[str, int]:
    """What sched_getattr(2) says."""
    buffer = ctypes.create_string_buffer(48)
    assert libc.syscall(SCHED_GETATTR, pid, buffer, 48, 0) == 0
    names = ("policy", "flags", "nice", "priority", "runtime", "deadline", "period")
    return dict(zip(names, struct.unpack("=4xIQiIQQQ", buffer.raw), strict=True))


def sleeping(container: Container, **process: Any) -> Container:
    container.process.update(process)
    return container.args("sleep", "1000").create().start().wait("running")


MS = 1_000_000


@pytest.mark.clause(
    "config.scheduler.policy", "config.scheduler.nice", "config.scheduler.priority", "config.scheduler.deadline"
)
@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ({"policy": "SCHED_OTHER", "nice": 5}, 0),
        ({"policy": "SCHED_FIFO", "priority": 10}, 1),
        ({"policy": "SCHED_RR", "priority": 3}, 2),
        ({"policy": "SCHED_BATCH", "nice": 7}, 3),
        ({"policy": "SCHED_IDLE"}, 5),
        ({"policy": "SCHED_DEADLINE", "runtime": MS, "deadline": 10 * MS, "period": 20 * MS}, 6),
    ],
    ids=lambda value: value["policy"] if isinstance(value, dict) else "",
)
def test_the_schedule_is_as_asked(container: Container, wanted: dict[str, Any], number: int) -> None:
    found = schedule(sleeping(container, scheduler=wanted).pid)
    assert found["policy"] == number
    asked = {"nice": 0, "priority": 0, "runtime": 0, "deadline": 0, "period": 0, **wanted}
    if number != 6:  # newer kernels tell the slice of other policies in runtime
        found.update(runtime=0, deadline=0, period=0)
    assert {key: found[key] for key in asked} == {**asked, "policy": number}


@pytest.mark.clause("config.scheduler.flags")
def test_a_schedule_need_not_be_inherited(container: Container) -> None:
    wanted = {"policy": "SCHED_FIFO", "priority": 10, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    assert schedule(sleeping(container, scheduler=wanted).pid)["flags"] & 1


@pytest.mark.clause("config.values.invalid-errors", "runtime.create.cannot-apply-nothing")
@pytest.mark.parametrize(
    "wanted",
    [
        {"policy": "SCHED_NOSUCH"},
        {"policy": "SCHED_OTHER", "nice": 20},
        {"policy": "SCHED_OTHER", "priority": 1},
        {"policy": "SCHED_FIFO", "priority": 1, "runtime": MS},
        {"policy": "SCHED_FIFO", "priority": 1, "flags": ["SCHED_FLAG_NOSUCH"]},
    ],
    ids=["policy", "nice", "priority", "runtime", "flag"],
)
def test_a_schedule_that_cannot_be_is_refused(container: Container, wanted: dict[str, Any]) -> None:
    container.process["scheduler"] = wanted
    with pytest.raises(Failure):
        container.create()
    expect_gone(container)


@pytest.mark.clause("config.io-priority.set")
@pytest.mark.parametrize(("name", "number"), [("RT", 1), ("BE", 2), ("IDLE", 3)])
def test_the_priority_of_input_and_output_is_as_asked(container: Container, name: str, number: int) -> None:
    wanted = {"class": f"IOPRIO_CLASS_{name}", "priority": 4}
    assert io_priority(sleeping(container, ioPriority=wanted).pid) == (number, 4)


@pytest.mark.clause("config.values.invalid-errors")
@pytest.mark.parametrize("wanted", [{"class": "NOSUCH", "priority": 1}, {"class": "IOPRIO_CLASS_BE", "priority": 8}])
def test_a_priority_that_cannot_be_is_refused(container: Container, wanted: dict[str, Any]) -> None:
    container.process["ioPriority"] = wanted
    with pytest.raises(Failure):
        container.create()


@pytest.mark.needs("two-processors")
@pytest.mark.clause("config.exec-affinity.initial", "config.exec-affinity.final", "config.exec-affinity.no-final")
@pytest.mark.parametrize(
    ("affinity", "found"),
    [({"initial": "0", "final": "1"}, "1"), ({"final": "0-1"}, "0-1"), ({"initial": "1"}, "1")],
    ids=["both", "final", "initial"],
)
def test_a_process_that_joins_runs_where_it_may(container: Container, affinity: dict[str, str], found: str) -> None:
    if "final" not in affinity and KERNEL < (6, 2):
        pytest.skip("a kernel before 6.2 forgets the affinity on the way into a cgroup")
    sleeping(container, execCPUAffinity=affinity)
    status = dict(line.split(":\t", 1) for line in container.exec("cat", "/proc/self/status").splitlines())
    assert status["Cpus_allowed_list"] == found
    assert os.sched_getaffinity(container.pid) == os.sched_getaffinity(0)  # not for the first process


@pytest.mark.clause("linux.memory-policy.set", "features.linux-memory-policy.modes")
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "prefer (many):0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:0"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}, "bind=relative:0"),
    ],
    ids=lambda value: "-".join([value["mode"], *value.get("flags", [])]) if isinstance(value, dict) else "",
)
def test_the_memory_policy_is_as_asked(container: Container, wanted: dict[str, Any], found: str) -> None:
    if not Path("/proc/self/numa_maps").exists():
        pytest.skip("a kernel without NUMA")
    container.linux["memoryPolicy"] = wanted
    sleeping(container)
    maps = Path(f"/proc/{container.pid}/numa_maps").read_text().splitlines()
    assert maps
    assert all(f"{line} ".split(" ", 1)[1].startswith(f"{found} ") for line in maps)


@pytest.mark.clause("config.values.invalid-errors")
@pytest.mark.parametrize(
    "wanted",
    [
        {"mode": "MPOL_NOSUCH"},
        {"mode": "MPOL_BIND"},
        {"mode": "MPOL_LOCAL", "nodes": "0"},
        {"mode": "MPOL_BIND", "nodes": "zero"},
        {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NOSUCH"]},
    ],
    ids=["mode", "no-nodes", "nodes", "list", "flag"],
)
def test_a_memory_policy_that_cannot_be_is_refused(container: Container, wanted: dict[str, Any]) -> None:
    container.linux["memoryPolicy"] = wanted
    with pytest.raises(Failure):
        container.create()
    expect_gone(container)


@pytest.mark.clause("linux.personality.set")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="what the program sees is known for x86_64")
@pytest.mark.parametrize(("domain", "machine"), [("LINUX", "x86_64"), ("LINUX32", "i686")])
def test_the_personality_is_as_asked(container: Container, domain: str, machine: str) -> None:
    container.linux["personality"] = {"domain": domain}
    sleeping(container)
    assert container.exec("busybox", "uname", "-m") == f"{machine}\n"
    assert int(Path(f"/proc/{container.pid}/personality").read_text(), 16) & 0xFF == (8 if domain == "LINUX32" else 0)


@pytest.mark.clause("config.values.invalid-errors")
def test_a_personality_that_is_not_known_is_refused(container: Container) -> None:
    container.linux["personality"] = {"domain": "SOLARIS"}
    with pytest.raises(Failure):
        container.create()


@pytest.mark.clause("config.rlimits.unknown-errors", "runtime.create.cannot-apply-nothing")
def test_a_limit_that_the_kernel_does_not_know_is_refused(container: Container) -> None:
    if container.runtime.name == "crun":
        pytest.skip("crun 1.8 refuses it, but leaves the cgroup, and every later test would find that")
    container.process["rlimits"] = [{"type": "RLIMIT_NOSUCH", "hard": 1, "soft": 1}]
    with pytest.raises(Failure, match="RLIMIT_NOSUCH"):
        container.create()
    expect_gone(container)


@pytest.mark.clause("config.rlimits.duplicate")
def test_the_same_limit_twice_is_refused(container: Container) -> None:
    container.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 100, "soft": 100}] * 2
    with pytest.raises(Failure):
        container.create()


@pytest.mark.clause("config.rlimits.soft", "config.rlimits.hard", "config.rlimits.readable")
def test_every_kind_of_limit_can_be_set(container: Container) -> None:
    names = {
        "CPU": "cpu time",
        "FSIZE": "file size",
        "DATA": "data size",
        "STACK": "stack size",
        "CORE": "core file size",
        "RSS": "resident set",
        "NPROC": "processes",
        "NOFILE": "open files",
        "MEMLOCK": "locked memory",
        "AS": "address space",
        "LOCKS": "file locks",
        "SIGPENDING": "pending signals",
        "MSGQUEUE": "msgqueue size",
        "NICE": "nice priority",
        "RTPRIO": "realtime priority",
        "RTTIME": "realtime timeout",
    }
    before = limits("self")
    wanted = {name: _lowered(before[text], number) for number, (name, text) in enumerate(names.items())}
    container.process["rlimits"] = [
        {"type": f"RLIMIT_{name}", "soft": soft, "hard": hard} for name, (soft, hard) in wanted.items()
    ]
    found = limits(sleeping(container).pid)
    assert {name: found[text] for name, text in names.items()} == wanted


@pytest.mark.clause("config.rlimits.soft", "config.rlimits.hard")
def test_only_the_largest_number_is_no_limit(container: Container) -> None:
    soft, hard = 2**63, 2**64 - 2
    container.process["rlimits"] = [{"type": "RLIMIT_CORE", "soft": soft, "hard": hard}]
    assert limits(sleeping(container).pid)["core file size"] == (soft, hard)


def limits(pid: int | str) -> dict[str, tuple[int, int]]:
    """Soft and hard limits by what /proc calls them; 2**64-1 is none."""
    table = {}
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]:
        soft, hard = (2**64 - 1 if word == "unlimited" else int(word) for word in line[26:].split()[:2])
        table[line[4:26].strip()] = (soft, hard)
    return table


def _lowered(limit: tuple[int, int], number: int) -> tuple[int, int]:
    """Other than it is, high enough to live with, and lower, for raising takes a right."""
    hard = min(limit[1], (1 << 40) + number)
    return (hard - 1 if hard else 0), hard


@pytest.mark.clause("config.capabilities.unknown-warns", "config.capabilities.not-granted", "runtime.warnings.go-on")
def test_a_capability_that_is_not_known_is_a_warning(container: Container) -> None:
    container.process["capabilities"]["bounding"].append("CAP_NOSUCH")
    container.create()
    entries = [json.loads(line) for line in (container.bundle / "log.json").read_text().splitlines()]
    assert any(entry["level"] == "warning" and "CAP_NOSUCH" in entry["msg"] for entry in entries)


@pytest.mark.clause("config.process.oom-score-unset")
def test_an_oom_score_that_is_not_given_is_the_callers(container: Container) -> None:
    found = Path(f"/proc/{sleeping(container).pid}/oom_score_adj").read_text()
    assert found == Path("/proc/self/oom_score_adj").read_text()


@pytest.mark.clause("cli.create.keyring")
@pytest.mark.parametrize("flags", [[], ["--no-new-keyring"]], ids=["new", "callers"])
def test_the_session_keyring_is_new_unless_told_otherwise(container: Container, flags: list[str]) -> None:
    container.args("cat", "/proc/keys").create(*flags).start().wait("stopped")
    assert (container.id in container.written()) == (not flags)


@pytest.mark.clause("runtime.create.cannot-apply-errors")
@pytest.mark.skipif(Path("/sys/fs/selinux/enforce").exists(), reason="this host has SELinux")
def test_a_label_is_refused_where_nobody_labels(container: Container) -> None:
    container.process["selinuxLabel"] = "system_u:system_r:container_t:s0"
    with pytest.raises(Failure):
        container.create()


@pytest.mark.clause("linux.rdt.missing-errors")
def test_resource_control_is_refused_where_it_is_not_mounted(container: Container) -> None:
    if "resctrl" in Path("/proc/mounts").read_text():
        pytest.skip("resctrl is mounted here")
    container.linux["intelRdt"] = {"closID": "class", "l3CacheSchema": "L3:0=f"}
    with pytest.raises(Failure):
        container.create()
    expect_gone(container)
