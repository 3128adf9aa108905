"""Limits that take effect: seen by the program that runs into them, and in the files of the container's cgroup.

These need a host whose cgroups are all of version 2, and so they usually run in a guest.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..patience import wait_until
from .harness import Container

pytestmark = pytest.mark.needs("root", "cgroup-v2")

MIB = 1 << 20
EATER = "head -c 64m /dev/zero | tail > /dev/null; echo ended with $?; sleep 1000"
"""busybox's tail keeps what it reads until a line ends, and here none does."""


def read(container: Container, name: str) -> str:
    """A file of the container's cgroup."""
    group = Path(f"/proc/{container.pid}/cgroup").read_text().partition("0::")[2].strip()
    return Path(f"/sys/fs/cgroup{group}/{name}").read_text().strip()


def counts(container: Container, name: str) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in read(container, name).splitlines())}


def wait_for_count(container: Container, name: str, key: str) -> int:
    """Wait until the counter *key* in the file *name* is no longer 0."""
    return wait_until(lambda: counts(container, name)[key], f"{key} of {name} counts", seconds=30)


def wait_for_text(container: Container, text: str) -> str:
    """Wait until the program has written *text*; all that it has."""
    wait_until(lambda: text in container.output.read_text(), f"it writes {text}", seconds=30)
    return container.output.read_text()


def sleeping(container: Container, **resources: object) -> Container:
    container.linux["resources"] = resources
    return container.args("sleep", "1000").create().start()


@pytest.mark.clause("linux.cgroups.memory")
def test_who_takes_more_memory_than_the_limit_is_killed(container: Container) -> None:
    container.linux["resources"] = {"memory": {"limit": 16 * MIB}}
    container.shell(EATER).create().start()
    wait_for_count(container, "memory.events", "oom_kill")
    wait_for_text(container, "ended with 137")
    assert read(container, "memory.max") == str(16 * MIB)


@pytest.mark.clause("linux.cgroups.memory")
def test_swap_is_what_is_over_the_memory_limit(container: Container) -> None:
    sleeping(container, memory={"limit": 16 * MIB, "swap": 24 * MIB, "reservation": 8 * MIB})
    assert read(container, "memory.swap.max") == str(8 * MIB)
    assert read(container, "memory.low") == str(8 * MIB)


@pytest.mark.clause("linux.cgroups.cpu")
def test_who_takes_more_time_than_the_quota_is_throttled(container: Container) -> None:
    container.linux["resources"] = {"cpu": {"quota": 10_000, "period": 100_000}}
    container.shell("while :; do :; done").create().start()
    assert read(container, "cpu.max") == "10000 100000"
    assert wait_for_count(container, "cpu.stat", "nr_throttled") > 0


@pytest.mark.clause("linux.cgroups.cpu")
@pytest.mark.parametrize(("shares", "weight"), [(2, "1"), (262144, "10000")])
def test_shares_become_a_weight(container: Container, shares: int, weight: str) -> None:
    sleeping(container, cpu={"shares": shares})
    assert read(container, "cpu.weight") == weight


@pytest.mark.clause("linux.cgroups.pids")
def test_a_fork_over_the_limit_is_refused(container: Container) -> None:
    container.linux["resources"] = {"pids": {"limit": 3}}
    container.shell("sleep 1000 & sleep 1000 & sleep 1000 & wait").create().start()
    assert "can't fork" in container.written(seconds=30)
    assert counts(container, "pids.events")["max"] >= 1
    assert read(container, "pids.max") == "3"


@pytest.mark.clause("linux.cgroups.cpuset")
def test_a_program_runs_on_the_processors_it_was_given(container: Container) -> None:
    container.linux["resources"] = {"cpu": {"cpus": "0", "mems": "0"}}
    container.shell("grep -E '(Cpus|Mems)_allowed_list' /proc/self/status; sleep 1000").create().start()
    assert container.written(seconds=30).split() == ["Cpus_allowed_list:", "0", "Mems_allowed_list:", "0"]
    assert read(container, "cpuset.cpus.effective") == "0"


@pytest.fixture
def disk() -> str:
    """The device of the root filesystem, as major:minor."""
    number = os.stat("/").st_dev
    return f"{os.major(number)}:{os.minor(number)}"


@pytest.mark.clause("linux.cgroups.block-io")
def test_reading_and_writing_a_disk_have_limits(container: Container, disk: str) -> None:
    major, minor = (int(word) for word in disk.split(":"))
    device = {"major": major, "minor": minor}
    limits = {"throttleReadBpsDevice": [{**device, "rate": MIB}], "throttleWriteIOPSDevice": [{**device, "rate": 7}]}
    sleeping(container, blockIO=limits)
    assert read(container, "io.max") == f"{disk} rbps={MIB} wbps=max riops=max wiops=7"


@pytest.mark.clause("linux.cgroups.unified")
def test_a_file_of_version_2_is_written_as_it_stands(container: Container) -> None:
    sleeping(container, unified={"memory.high": str(32 * MIB), "pids.max": "9"})
    assert (read(container, "memory.high"), read(container, "pids.max")) == (str(32 * MIB), "9")


@pytest.mark.clause("cli.update.limits")
def test_limits_change_while_it_runs(container: Container) -> None:
    sleeping(container, memory={"limit": 64 * MIB}, pids={"limit": 20})
    container.runtime("update", f"--memory={32 * MIB}", "--pids-limit=11", container.id)
    assert (read(container, "memory.max"), read(container, "pids.max")) == (str(32 * MIB), "11")


@pytest.mark.clause("cli.pause.freezes", "cli.resume.thaws")
def test_a_paused_container_is_frozen_by_its_cgroup(running: Container) -> None:
    running.runtime("pause", running.id)
    assert counts(running, "cgroup.events")["frozen"] == 1
    running.runtime("resume", running.id)
    assert counts(running, "cgroup.events")["frozen"] == 0


PROFILE = """
profile conformance-no-tmp flags=(attach_disconnected) {
  file,
  capability,
  signal,
  ptrace,
  deny /tmp/** w,
}
"""


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[str]:
    """The name of an AppArmor profile under which nothing may be written to /tmp."""
    source = tmp_path / "profile"
    source.write_text(PROFILE)
    subprocess.run(["apparmor_parser", "-r", "-K", source], check=True)
    yield "conformance-no-tmp"
    subprocess.run(["apparmor_parser", "-R", source], check=True)


@pytest.mark.needs("apparmor")
@pytest.mark.clause("config.process.apparmor")
def test_an_apparmor_profile_confines_the_program(container: Container, profile: str) -> None:
    container.process["apparmorProfile"] = profile
    container.shell("cat /proc/self/attr/current; echo x > /tmp/file || echo refused; sleep 1000").create().start()
    lines = wait_for_text(container, "refused").splitlines()
    assert lines[0] == f"{profile} (enforce)"
    assert "Permission denied" in lines[1] and lines[2] == "refused"


@pytest.mark.needs("apparmor")
@pytest.mark.clause("config.process.apparmor")
def test_exec_is_confined_as_well(container: Container, profile: str) -> None:
    container.process["apparmorProfile"] = profile
    container.args("sleep", "1000").create().start()
    assert container.exec("cat", "/proc/self/attr/current") == f"{profile} (enforce)\n"


@pytest.mark.needs("apparmor")
@pytest.mark.clause("config.process.apparmor", "cli.exec.kept")
def test_a_process_from_a_file_is_confined_as_well(container: Container, profile: str) -> None:
    container.process["apparmorProfile"] = profile
    found = sleeping(container).exec_of_file("cat", "/proc/self/attr/current")
    assert found == f"{profile} (enforce)\n"
