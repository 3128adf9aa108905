"""The container's cgroup: the text of each file for each kind of value, where the group is, and whose it is.

These need a host whose cgroups are all of version 2, and so they usually run in a guest.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .harness import Container, Failure
from .test_resources import MIB, disk, read, sleeping
from .test_user_namespace import in_user_namespace, mount

pytestmark = pytest.mark.needs("root", "cgroup-v2")
__all__ = ["disk"]

GIB = 1 << 30
VALUES: list[tuple[str, dict[str, object], dict[str, str]]] = [
    ("memory-none", {"memory": {"limit": -1}}, {"memory.max": "max", "memory.swap.max": "max"}),
    ("memory-low", {"memory": {"reservation": 8 * MIB}}, {"memory.low": str(8 * MIB), "memory.max": "max"}),
    ("swap-same", {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}, {"memory.swap.max": "0"}),
    ("swap-none", {"memory": {"limit": 64 * MIB, "swap": -1}}, {"memory.swap.max": "max"}),
    ("swap-unset", {"memory": {"limit": 64 * MIB}}, {"memory.max": str(64 * MIB), "memory.swap.max": "max"}),
    ("quota-alone", {"cpu": {"quota": 20000}}, {"cpu.max": "20000 100000"}),
    ("period-alone", {"cpu": {"period": 50000}}, {"cpu.max": "max 50000"}),
    ("quota-none", {"cpu": {"quota": -1, "period": 50000}}, {"cpu.max": "max 50000"}),
    ("mems", {"cpu": {"cpus": "0-1", "mems": "0"}}, {"cpuset.cpus": "0-1", "cpuset.mems": "0"}),
    ("pids-none", {"pids": {"limit": -1}}, {"pids.max": "max"}),
    ("hugepages", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}, {"hugetlb.2MB.max": str(4 * MIB)}),
    ("unified", {"unified": {"cpu.weight": "77", "memory.high": "max"}}, {"cpu.weight": "77"}),
]


@pytest.mark.clause("linux.cgroups.memory", "linux.cgroups.cpu", "linux.cgroups.hugepages", "linux.hugepages.page-size")
@pytest.mark.parametrize(("resources", "files"), [each[1:] for each in VALUES], ids=[each[0] for each in VALUES])
def test_a_value_becomes_the_text_of_a_file(
    container: Container, resources: dict[str, object], files: dict[str, str]
) -> None:
    sleeping(container, **resources)
    assert {name: read(container, name) for name in files} == files


@pytest.mark.clause("linux.cpu.burst")
def test_a_burst_is_what_may_be_saved(container: Container) -> None:
    sleeping(container, cpu={"quota": 20000, "period": 100000, "burst": 5000})
    assert read(container, "cpu.max.burst") == "5000"


@pytest.mark.clause("linux.cpu.idle")
def test_an_idle_group_gets_what_nobody_wants(container: Container) -> None:
    sleeping(container, cpu={"idle": 1})
    assert read(container, "cpu.idle") == "1"


@pytest.mark.clause("linux.pids.zero")
def test_a_limit_of_no_tasks_is_a_limit(container: Container) -> None:
    sleeping(container, pids={"limit": 0})
    assert read(container, "pids.max") in ("0", "1")


@pytest.mark.clause("linux.cgroups.block-io")
def test_each_throttle_of_a_device_is_set(container: Container, disk: str) -> None:
    major, minor = (int(word) for word in disk.split(":"))
    rates = {"ReadBps": 3 * MIB, "WriteBps": 2 * MIB, "ReadIOPS": 11, "WriteIOPS": 12}
    limits = {f"throttle{k}Device": [{"major": major, "minor": minor, "rate": rate}] for k, rate in rates.items()}
    sleeping(container, blockIO=limits)
    assert read(container, "io.max") == f"{disk} rbps={3 * MIB} wbps={2 * MIB} riops=11 wiops=12"


@pytest.fixture
def weight_file() -> str:
    """The file that has the weight of disks, which only a scheduler or a cost model brings."""
    for name in ("io.bfq.weight", "io.weight"):
        if any(Path("/sys/fs/cgroup").glob(f"*/{name}")) or _appears(name):
            return name
    pytest.skip("this kernel's io controller has no weights")


def _appears(name: str) -> bool:
    probe = Path("/sys/fs/cgroup/weight-probe")
    probe.mkdir()
    try:
        return (probe / name).exists()
    finally:
        probe.rmdir()


@pytest.mark.clause("linux.block-io.weight")
def test_a_weight_of_disks_is_set(container: Container, weight_file: str) -> None:
    sleeping(container, blockIO={"weight": 300})
    expected = {"io.bfq.weight": "300", "io.weight": str(1 + 290 * 9999 // 990)}
    assert read(container, weight_file).split() == ["default", expected[weight_file]]


@pytest.mark.clause("linux.memory.check-before-update", "linux.memory.check-rejects")
def test_a_limit_below_what_is_in_use_is_refused_when_asked_to_look(container: Container) -> None:
    container.linux["resources"] = {"memory": {"limit": 64 * MIB}}
    container.shell("head -c 16m /dev/zero > /dev/shm/held; echo held; sleep 1000")
    container.config["mounts"].append(mount("/dev/shm", "tmpfs", "mode=1777"))
    container.create().start().written(30)
    resources = container.bundle / "resources.json"
    resources.write_text('{"memory": {"limit": 1048576, "checkBeforeUpdate": true}}')
    with pytest.raises(Failure):
        container.runtime("update", "--resources", str(resources), container.id)
    assert read(container, "memory.max") == str(64 * MIB)
    assert container.status == "running"


@pytest.mark.clause("linux.unified.missing-errors")
@pytest.mark.parametrize("name", ["nosuch.max", "memory.nosuch"])
def test_a_file_that_is_not_there_is_refused_by_name(container: Container, name: str) -> None:
    container.linux["resources"] = {"unified": {name: "1"}}
    with pytest.raises(Failure, match=name):
        container.create()


@pytest.mark.clause("linux.cgroups.unified")
def test_a_name_with_a_slash_is_no_file_of_the_group(container: Container) -> None:
    container.linux["resources"] = {"unified": {"../memory.max": "1"}}
    with pytest.raises(Failure):
        container.create()


@pytest.mark.clause("linux.unified.convert-errors")
def test_what_only_version_1_has_is_refused(container: Container) -> None:
    container.linux["resources"] = {"memory": {"swappiness": 50}}
    with pytest.raises(Failure, match="swappiness"):
        container.create()


@pytest.mark.clause("linux.cgroups.path.absolute", "linux.cgroups.path.consistent")
def test_the_group_is_where_the_path_says(running: Container) -> None:
    assert Path(f"/proc/{running.pid}/cgroup").read_text().strip() == f"0::{running.linux['cgroupsPath']}"


@pytest.mark.clause("cli.update.limits")
def test_a_half_of_a_pair_is_changed_alone(container: Container) -> None:
    sleeping(container, cpu={"quota": 20000, "period": 50000})
    container.runtime("update", "--cpu-quota=30000", container.id)
    assert read(container, "cpu.max") == "30000 50000"


def own_group(container: Container, *options: str) -> Container:
    """A container in a user namespace that sees its own group, mounted with *options*."""
    container.linux["namespaces"].append({"type": "cgroup"})
    container.config["mounts"] += [
        mount("/sys", "sysfs", "nosuid", "noexec", "nodev"),
        mount("/sys/fs/cgroup", "cgroup", *options),
    ]
    return in_user_namespace(container).args("sleep", "1000").create().start()


def owners(container: Container) -> dict[str, int]:
    group = Path("/sys/fs/cgroup", container.linux["cgroupsPath"].lstrip("/"))
    return {path.name: path.stat().st_uid for path in (group, *group.iterdir())}


@pytest.mark.clause(
    "linux.cgroups.owner.changed",
    "linux.cgroups.owner.delegated-files",
    "linux.cgroups.owner.no-other-files",
    "linux.cgroups.owner.missing-file",
    "linux.cgroups.owner.existing-files",
)
def test_a_group_that_its_container_can_write_is_given_to_it(container: Container) -> None:
    found = owners(own_group(container))
    delegated = set(Path("/sys/kernel/cgroup/delegate").read_text().split())
    given = {name for name, uid in found.items() if uid == 100000}
    assert given == {container.id, *(delegated & found.keys())}
    script = "mkdir /sys/fs/cgroup/below && cat /sys/fs/cgroup/below/cgroup.procs && echo made"
    assert container.exec("sh", "-c", script) == "made\n"


@pytest.mark.clause("linux.cgroups.owner.writable-only")
def test_a_group_that_it_can_only_read_is_not(container: Container) -> None:
    assert set(owners(own_group(container, "ro")).values()) == {0}


@pytest.mark.clause("linux.cgroups.owner.needs-mount", "linux.cgroups.owner.needs-namespace")
def test_a_group_that_it_cannot_see_is_not(container: Container) -> None:
    in_user_namespace(container).args("sleep", "1000").create()
    assert set(owners(container).values()) == {0}


@pytest.mark.clause("linux.cgroups.owner.needs-mount")
def test_the_groups_root_is_seen_from_inside(container: Container) -> None:
    own_group(container)
    assert container.exec("cat", "/sys/fs/cgroup/cgroup.procs").split()[0] == "1"
    assert os.path.exists(f"/proc/{container.pid}/ns/cgroup")
