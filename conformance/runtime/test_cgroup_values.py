"""Where a container's cgroup is, whose it is, and what of the config stands in its files.

As in test_resources: these need a host whose cgroups are all of version 2, and so they usually run in a guest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .. import leaks
from .conftest import Make
from .harness import Container, Failure
from .test_refusals import expect_refused
from .test_resources import MIB, read, sleeping
from .test_user_namespace import in_user_namespace

pytestmark = pytest.mark.needs("root", "cgroup-v2")

TREE = Path("/sys/fs/cgroup")


def group_of(container: Container) -> Path:
    """The cgroup that the container's process is in."""
    return TREE / Path(f"/proc/{container.pid}/cgroup").read_text().partition("0::/")[2].strip()


@pytest.mark.clause("linux.cgroups.path.absolute", "linux.cgroups.path.consistent")
def test_an_absolute_path_begins_at_the_top_of_the_tree(container: Container) -> None:
    for _ in range(2):
        sleeping(container)
        assert group_of(container) == TREE / leaks.TOKEN / container.id
        container.kill("KILL")
        container.wait("stopped").delete()


@pytest.mark.clause("linux.cgroups.path.relative", "linux.cgroups.path.consistent")
def test_a_relative_path_is_the_same_place_each_time(container: Container) -> None:
    container.linux["cgroupsPath"] = f"{leaks.TOKEN}/{container.id}"
    places = set()
    for _ in range(2):
        sleeping(container)
        places.add(group_of(container))
        container.kill("KILL")
        container.wait("stopped").delete()
    (place,) = places
    assert str(place).endswith(f"/{leaks.TOKEN}/{container.id}")


@pytest.mark.clause("linux.cgroups.path.default")
def test_without_a_path_there_is_a_cgroup_all_the_same(container: Container) -> None:
    del container.linux["cgroupsPath"]
    sleeping(container)
    assert container.id in group_of(container).name
    assert group_of(container) != TREE


@pytest.mark.clause("linux.cgroups.path.invalid", "linux.cgroups.path.invalid-errors", "runtime.errors.no-trace")
def test_a_path_never_leads_out_of_the_tree(container: Container, tmp_path: Path) -> None:
    container.linux["cgroupsPath"] = f"/../../../../../../{tmp_path}/outside-{leaks.TOKEN}"
    try:
        sleeping(container)
    except Failure:
        assert not leaks.cgroups_named("outside")
    else:
        assert group_of(container).is_relative_to(TREE) and ".." not in str(group_of(container))
    assert not list(tmp_path.glob("outside*"))


@pytest.mark.clause("linux.cgroups.check", "linux.cgroups.check-errors")
def test_a_frozen_cgroup_is_refused(make: Make, frozen: str) -> None:
    container = make()
    container.linux["cgroupsPath"] = frozen
    with pytest.raises(Failure):
        container.create()
    Path(f"{TREE}{frozen}/cgroup.freeze").write_text("0")


@pytest.fixture
def frozen() -> Iterator[str]:
    """A cgroup in which nothing moves."""
    path = f"/{leaks.TOKEN}/frozen"
    Path(f"{TREE}{path}").mkdir(parents=True)
    Path(f"{TREE}{path}/cgroup.freeze").write_text("1")
    yield path
    if Path(f"{TREE}{path}").exists():
        Path(f"{TREE}{path}/cgroup.freeze").write_text("0")
        Path(f"{TREE}{path}").rmdir()


def owners(container: Container) -> dict[str, int]:
    group = group_of(container)
    return {".": group.stat().st_uid, **{path.name: path.stat().st_uid for path in group.iterdir() if path.is_file()}}


def with_cgroup_mount(container: Container, *options: str) -> Container:
    container.config["mounts"].append(
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}
    )
    container.config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", *options]}
    )
    return container


def mapped(container: Container) -> Container:
    """With root inside being another user outside: only then there is somebody else to own the cgroup."""
    container.linux["namespaces"].append({"type": "cgroup"})
    return in_user_namespace(container)


@pytest.mark.clause(
    "linux.cgroups.owner.changed",
    "linux.cgroups.owner.writable-only",
    "linux.cgroups.owner.delegated-files",
    "linux.cgroups.owner.existing-files",
    "linux.cgroups.owner.no-other-files",
)
def test_a_writable_cgroup_is_given_to_the_user_inside(container: Container) -> None:
    sleeping(with_cgroup_mount(mapped(container), "rw"))
    delegated = {".", *Path("/sys/kernel/cgroup/delegate").read_text().split()}
    found = owners(container)
    assert {name for name, uid in found.items() if uid == 100000} == delegated & found.keys()


@pytest.mark.clause(
    "linux.cgroups.owner.needs-namespace", "linux.cgroups.owner.needs-mount", "linux.cgroups.owner.writable-only"
)
@pytest.mark.parametrize("why", ["no namespace", "read-only", "no mount"])
def test_any_other_cgroup_is_not_given_away(container: Container, why: str) -> None:
    mapped(container)
    if why != "no mount":
        with_cgroup_mount(container, "ro" if why == "read-only" else "rw")
    if why == "no namespace":
        container.linux["namespaces"] = [each for each in container.linux["namespaces"] if each["type"] != "cgroup"]
    sleeping(container)
    assert set(owners(container).values()) == {0}


@pytest.mark.clause("linux.cpu.burst")
def test_a_burst_may_be_saved_for(container: Container) -> None:
    sleeping(container, cpu={"quota": 50_000, "period": 100_000, "burst": 20_000})
    assert read(container, "cpu.max.burst") == "20000"


@pytest.mark.clause("linux.cpu.idle")
def test_an_idle_cgroup_has_what_nobody_wants(container: Container) -> None:
    sleeping(container, cpu={"idle": 1})
    assert read(container, "cpu.idle") == "1"


@pytest.mark.clause("linux.block-io.weight")
def test_a_weight_is_the_share_of_the_disks(container: Container) -> None:
    sleeping(container, blockIO={"weight": 100})
    files = {name: read(container, name) for name in os.listdir(group_of(container)) if name.endswith("weight")}
    assert "io.weight" in files or "io.bfq.weight" in files, files
    if "io.bfq.weight" in files:
        assert files["io.bfq.weight"].split() == ["default", "100"]
    else:
        assert files["io.weight"].split() == ["default", str(1 + (100 - 10) * 9999 // 990)]


@pytest.mark.clause("linux.cgroups.hugepages", "linux.hugepages.page-size")
def test_huge_pages_have_a_limit(container: Container) -> None:
    sleeping(container, hugepageLimits=[{"pageSize": "2MB", "limit": 4 * MIB}])
    assert str(4 * MIB) in (read(container, "hugetlb.2MB.rsvd.max"), read(container, "hugetlb.2MB.max"))


@pytest.mark.clause("linux.unified.controllers", "linux.cgroups.unified")
def test_the_controllers_that_are_needed_are_enabled(container: Container) -> None:
    sleeping(container, unified=UNIFIED)
    assert {"cpuset", "memory"} <= {*read(container, "cgroup.controllers").split()}
    assert {name: read(container, name) for name in UNIFIED} == UNIFIED


UNIFIED = {"cpuset.cpus": "0", "memory.oom.group": "1"}


@pytest.mark.clause("linux.unified.missing-errors", "runtime.create.cannot-apply-errors")
@pytest.mark.parametrize("name", ["nosuch.max", "memory.no-such-file"])
def test_a_file_that_no_controller_has_is_refused(container: Container, name: str) -> None:
    container.linux["resources"] = {"unified": {name: "1"}}
    expect_refused(container)


@pytest.mark.clause("linux.unified.convert-errors", "linux.unified.convert")
def test_what_cannot_be_converted_is_refused(container: Container) -> None:
    container.linux["resources"] = {"memory": {"limit": 64 * MIB, "swap": 32 * MIB}}
    expect_refused(container)


@pytest.mark.clause("linux.unified.convert")
def test_what_can_be_converted_is(container: Container) -> None:
    sleeping(container, memory={"limit": 64 * MIB, "swap": 96 * MIB}, cpu={"shares": 1024})
    assert read(container, "memory.swap.max") == str(32 * MIB)
    assert read(container, "cpu.weight") in ("39", "100")  # runc 1.1 and crun 1.8: a line, newer ones: a curve


@pytest.mark.clause("linux.devices.no-others")
def test_a_device_that_is_not_listed_cannot_be_used(container: Container) -> None:
    number = os.stat("/").st_dev
    device = f"b {os.major(number)} {os.minor(number)}"
    for names in container.process["capabilities"].values():
        names.append("CAP_MKNOD")
    container.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    (container.rootfs / "bin/mknod").symlink_to("busybox")
    said = container.shell(f"mknod /tmp/disk {device} && head -c 1 /tmp/disk; echo ended").run()
    assert "Operation not permitted" in said


@pytest.mark.clause("linux.memory.check-before-update", "linux.memory.check-rejects")
def test_a_limit_below_what_is_used_is_refused_where_that_is_asked_for(container: Container) -> None:
    container.linux["resources"] = {"memory": {"limit": 64 * MIB, "checkBeforeUpdate": True}}
    container.shell("head -c 24m /dev/zero > /dev/held; echo held; sleep 1000").create().start()
    assert container.written(seconds=30) == "held\n"
    update = '{"memory": {"limit": 8388608, "checkBeforeUpdate": true}}'
    with pytest.raises(Failure):
        container.runtime("update", "--resources", "-", container.id, text=update)
    assert container.status == "running"
    assert read(container, "memory.max") == str(64 * MIB)


@pytest.mark.clause("linux.pids.zero")
def test_a_limit_of_nothing_is_a_limit(container: Container) -> None:
    sleeping(container, pids={"limit": 0})
    assert read(container, "pids.max") == "0"


@pytest.mark.clause("linux.cgroups.path.consistent")
def test_a_process_that_joins_is_in_the_same_cgroup(container: Container) -> None:
    sleeping(container)
    assert container.exec("cat", "/proc/self/cgroup").strip().endswith(f"/{group_of(container).relative_to(TREE)}")
