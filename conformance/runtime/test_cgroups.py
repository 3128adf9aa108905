"""The container's cgroup: the text of each file for each kind of value, where the group is, and whose it is.

These need a host whose cgroups are all of version 2, and so they usually run in a guest.
"""

from __future__ import annotations

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


@pytest.mark.needs("two-processors")
@pytest.mark.clause("linux.cgroups.cpuset")
def test_processors_and_nodes_are_the_text_of_files(container: Container) -> None:
    sleeping(container, cpu={"cpus": "0-1", "mems": "0"})
    assert read(container, "cpuset.cpus") == "0-1"
    assert read(container, "cpuset.mems") == "0"


@pytest.mark.clause("linux.cgroups.block-io")
def test_each_throttle_of_a_device_is_set(container: Container, disk: str) -> None:
    major, minor = (int(word) for word in disk.split(":"))
    rates = {"ReadBps": 3 * MIB, "WriteBps": 2 * MIB, "ReadIOPS": 11, "WriteIOPS": 12}
    limits = {f"throttle{k}Device": [{"major": major, "minor": minor, "rate": rate}] for k, rate in rates.items()}
    sleeping(container, blockIO=limits)
    assert read(container, "io.max") == f"{disk} rbps={3 * MIB} wbps={2 * MIB} riops=11 wiops=12"


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


@pytest.mark.clause("linux.cgroups.owner.changed")
def test_its_root_makes_groups_below_and_moves_processes_there(container: Container) -> None:
    own_group(container, "rw")
    group = "/sys/fs/cgroup"
    script = f"mkdir {group}/below && echo $$ > {group}/below/cgroup.procs && cat /proc/self/cgroup"
    assert container.exec("sh", "-c", script) == "0::/below\n"


@pytest.mark.clause("linux.cgroups.owner.no-other-files")
def test_its_root_cannot_change_its_own_limits(container: Container) -> None:
    own_group(container, "rw")
    assert "Permission denied" in container.exec("sh", "-c", "echo 1 2>&1 > /sys/fs/cgroup/pids.max; true")
