"""systemd as who makes the cgroup: ``--systemd-cgroup``, and a cgroupsPath of ``slice:prefix:name``.

A cgroup then belongs to a unit, a scope, and whoever asks systemd about the unit sees the container: its processes,
its limits, and that it ends when the unit is stopped. What only the files say would be undone by systemd's next reload.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .. import leaks
from ..patience import wait_until
from .conftest import Make
from .harness import Container, Failure
from .test_cgroup_values import group_of
from .test_device_rules import CONTROL
from .test_resources import MIB, read, sleeping

pytestmark = pytest.mark.needs("root", "systemd", "cgroup-v2")

PREFIX = "pre"
Systemd = Callable[[], Container]


@pytest.fixture
def systemd(make: Make) -> Systemd:
    """Containers whose cgroup systemd makes: a scope in system.slice."""

    def made() -> Container:
        container = make()
        container.runtime.flags = ("--systemd-cgroup",)
        container.linux["cgroupsPath"] = f"system.slice:{PREFIX}:{container.id}"
        return container

    return made


@pytest.fixture(autouse=True)
def no_units_left() -> Iterator[None]:
    yield
    list_units = ("list-units", "--all", "--plain", "--no-legend", f"*{leaks.TOKEN}*.scope")
    wait_until(lambda: systemctl(*list_units) == "", "no unit is left")


def systemctl(*words: str) -> str:
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, check=True).stdout.strip()


def unit_of(container: Container) -> str:
    return f"{PREFIX}-{container.id}.scope"


def is_in(container: Container, scope: Path) -> bool:
    """Whether its process is in the cgroup of *scope*; crun makes another one in it."""
    return group_of(container) in (scope, scope / "container")


def property_of(container: Container, name: str) -> str:
    """What systemd says of the container's unit."""
    return systemctl("show", "--value", f"--property={name}", unit_of(container))


@pytest.mark.clause("cli.systemd.scope")
def test_the_container_is_a_scope_of_its_slice(systemd: Systemd) -> None:
    container = sleeping(systemd())
    assert is_in(container, Path("/sys/fs/cgroup/system.slice", unit_of(container)))
    assert property_of(container, "ActiveState") == "active"
    assert property_of(container, "Slice") == "system.slice"
    assert property_of(container, "Delegate") == "yes"


@pytest.mark.clause("cli.systemd.slice")
def test_a_dash_in_a_slice_means_a_slice_in_a_slice(systemd: Systemd) -> None:
    container = systemd()
    top = f"{leaks.TOKEN}.slice"
    inner = f"{leaks.TOKEN}-inner.slice"
    container.linux["cgroupsPath"] = f"{inner}:{PREFIX}:{container.id}"
    sleeping(container)
    assert is_in(container, Path("/sys/fs/cgroup", top, inner, unit_of(container)))
    container.end()
    systemctl("stop", inner, top)


@pytest.mark.clause("cli.systemd.default")
def test_without_a_path_it_is_in_the_systems_slice(systemd: Systemd) -> None:
    container = systemd()
    del container.linux["cgroupsPath"]
    group = group_of(sleeping(container)).relative_to("/sys/fs/cgroup/system.slice")
    assert group.parts[0].endswith(f"-{container.id}.scope")


@pytest.mark.clause("cli.systemd.limits")
def test_limits_are_the_units_and_the_files(systemd: Systemd) -> None:
    container = sleeping(
        systemd(),
        memory={"limit": 64 * MIB, "reservation": 32 * MIB},
        cpu={"quota": 30_000, "period": 200_000, "cpus": "0", "mems": "0"},
        pids={"limit": 23},
    )
    names = ("MemoryMax", "MemoryLow", "TasksMax", "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "AllowedCPUs")
    shown = {name: property_of(container, name) for name in names}
    assert shown == {
        "MemoryMax": str(64 * MIB),
        "MemoryLow": str(32 * MIB),
        "TasksMax": "23",
        "CPUQuotaPerSecUSec": "150ms",
        "CPUQuotaPeriodUSec": "200ms",
        "AllowedCPUs": "0",
    }
    files = [read(container, name) for name in ("memory.max", "memory.low", "pids.max", "cpu.max", "cpuset.cpus")]
    assert files == [str(64 * MIB), str(32 * MIB), "23", "30000 200000", "0"]


@pytest.mark.clause("cli.systemd.limits")
def test_memory_and_swap_are_told_apart(systemd: Systemd) -> None:
    container = sleeping(systemd(), memory={"limit": 64 * MIB, "swap": 80 * MIB})
    assert property_of(container, "MemorySwapMax") == str(16 * MIB)


@pytest.mark.clause("cli.systemd.limits")
def test_a_weight_is_the_units_too(systemd: Systemd) -> None:
    container = sleeping(systemd(), cpu={"shares": 2048})
    assert property_of(container, "CPUWeight") == read(container, "cpu.weight") != "100"


@pytest.mark.clause("cli.systemd.limits")
def test_what_the_config_names_by_its_file_is_the_units_too(systemd: Systemd) -> None:
    container = sleeping(systemd(), unified={"memory.high": str(48 * MIB), "memory.min": str(8 * MIB)})
    assert property_of(container, "MemoryHigh") == str(48 * MIB)
    assert property_of(container, "MemoryMin") == str(8 * MIB)
    assert read(container, "memory.high") == str(48 * MIB)


@pytest.mark.clause("cli.systemd.update")
def test_an_update_outlives_a_reload(systemd: Systemd) -> None:
    container = sleeping(systemd(), memory={"limit": 64 * MIB}, pids={"limit": 23})
    container.runtime("update", f"--memory={96 * MIB}", "--pids-limit=42", container.id)
    systemctl("daemon-reload")
    assert (read(container, "memory.max"), read(container, "pids.max")) == (str(96 * MIB), "42")
    assert (property_of(container, "MemoryMax"), property_of(container, "TasksMax")) == (str(96 * MIB), "42")


@pytest.mark.clause("cli.systemd.devices")
def test_a_reload_opens_no_device(systemd: Systemd) -> None:
    container = systemd()
    container.linux["devices"] = [{"path": "/dev/control", **CONTROL}]
    container.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    container.args("sleep", "1000").create().start()
    systemctl("daemon-reload")
    with pytest.raises(Failure, match="Operation not permitted"):
        container.exec("sh", "-c", ": < /dev/control")


@pytest.mark.clause("cli.systemd.stop")
def test_who_stops_the_unit_ends_the_container(systemd: Systemd) -> None:
    container = sleeping(systemd())
    container.exec("true")
    systemctl("kill", "--signal=KILL", unit_of(container))
    container.wait("stopped").delete()


@pytest.mark.clause("cli.systemd.pause")
def test_pause_and_resume(systemd: Systemd) -> None:
    container = sleeping(systemd())
    container.runtime("pause", container.id)
    assert container.status == "paused"
    container.runtime("resume", container.id)
    assert container.status == "running"


@pytest.mark.clause("cli.systemd.delete")
def test_with_the_container_the_unit_is_gone(systemd: Systemd) -> None:
    container = sleeping(systemd())
    container.kill("KILL")
    container.wait("stopped").delete()
    assert property_of(container, "LoadState") == "not-found"
    assert sleeping(container).status == "running"  # and its name is free


@pytest.mark.clause("cli.systemd.delete")
def test_of_a_create_that_fails_no_unit_is_left(systemd: Systemd) -> None:
    container = systemd().args("/no/such/program")
    with pytest.raises(Failure, match="(?i)no such file"):
        container.create().start()
    assert property_of(container, "LoadState") == "not-found"


@pytest.mark.clause("cli.systemd.path")
@pytest.mark.parametrize("path", ["/an/ordinary/path", "system.slice:only-two", "no-slice:pre:name"])
def test_a_path_that_is_none_of_systemds_is_refused(systemd: Systemd, path: str) -> None:
    container = systemd()
    container.linux["cgroupsPath"] = path
    with pytest.raises(Failure, match=r"slice:prefix:name|[Ii]nvalid (slice|unit) name"):
        container.create()
