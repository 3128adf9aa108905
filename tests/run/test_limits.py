"""The config's limits as texts for files, without a kernel to write them to."""

from __future__ import annotations

from typing import Any

import pytest

from minicontainerd.errors import InvalidArgument, Unimplemented
from minicontainerd.run import cgroups, limits, operate

MIB = 1 << 20


def texts(**resources: Any) -> dict[str, str]:
    return {setting.name: setting.text for setting in limits.of(resources)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("memory", "files"),
    [
        ({"limit": -1}, {"memory.swap.max": "max", "memory.max": "max"}),
        ({"limit": 64 * MIB}, {"memory.max": str(64 * MIB)}),
        ({"limit": 64 * MIB, "swap": 64 * MIB}, {"memory.swap.max": "0", "memory.max": str(64 * MIB)}),
        ({"limit": 64 * MIB, "swap": -1}, {"memory.swap.max": "max", "memory.max": str(64 * MIB)}),
        ({"limit": 64 * MIB, "swap": 65 * MIB}, {"memory.swap.max": str(MIB), "memory.max": str(64 * MIB)}),
        ({"reservation": -1}, {"memory.low": "max"}),
        ({"limit": 0, "swap": 0, "reservation": 0}, {}),
    ],
)
def test_swap_is_counted_with_memory_in_the_config_and_alone_in_the_file(
    memory: dict[str, int], files: dict[str, str]
) -> None:
    assert texts(memory=memory) == files


@pytest.mark.parametrize("memory", [{"swap": MIB}, {"limit": -1, "swap": MIB}, {"limit": 2 * MIB, "swap": MIB}])
def test_swap_that_cannot_be_counted_is_refused(memory: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument):
        texts(memory=memory)


def test_the_order_is_the_one_that_the_kernel_takes() -> None:
    assert list(texts(cpu={"idle": 0, "shares": 2})) == ["cpu.idle", "cpu.weight"]
    assert list(texts(cpu={"idle": 1, "shares": 2})) == ["cpu.weight", "cpu.idle"]
    assert list(texts(cpu={"burst": 5, "quota": 10})) == ["cpu.max", "cpu.max.burst"]
    assert list(texts(cpu={"burst": 0, "quota": 10})) == ["cpu.max.burst", "cpu.max"]


def test_rdma_names_only_what_is_limited() -> None:
    assert texts(rdma={"mlx5_1": {"hcaHandles": 3}}) == {"rdma.max": "mlx5_1 hca_handle=3"}
    both = {"hcaHandles": 3, "hcaObjects": 9}
    assert texts(rdma={"mlx5_1": both}) == {"rdma.max": "mlx5_1 hca_handle=3 hca_object=9"}


def test_a_weight_is_for_all_disks_or_for_one() -> None:
    devices = [{"major": 8, "minor": 0, "weight": 10}]
    everything, one = limits.of({"blockIO": {"weight": 1000, "weightDevice": devices}})  # type: ignore[typeddict-item]
    assert (everything.instead, everything.text) == (("io.bfq.weight", "1000"), "10000")
    assert (one.instead, one.text) == (("io.bfq.weight", "8:0 10"), "8:0 1")


@pytest.mark.parametrize(
    "resources",
    [
        {"memory": {"swappiness": 1}},
        {"memory": {"disableOOMKiller": True}},
        {"cpu": {"realtimeRuntime": 1}},
        {"network": {"classID": 1}},
    ],
)
def test_what_only_version_1_has_is_refused_by_name(resources: dict[str, Any]) -> None:
    (group,) = resources
    with pytest.raises(Unimplemented, match=rf"resources\.{group}"):
        texts(**resources)


@pytest.mark.parametrize("name", ["../memory.max", "memory"])
def test_a_unified_name_is_that_of_a_file(name: str) -> None:
    with pytest.raises(InvalidArgument, match="unified resource"):
        texts(unified={name: "1"})


def test_a_half_that_is_not_given_is_as_it_was() -> None:
    former: Any = {"cpu": {"period": 50000, "quota": 1, "shares": 5}, "memory": {"limit": 7, "swap": 9}}
    assert operate._completed({"cpu": {"quota": 2}}, former) == {"cpu": {"period": 50000, "quota": 2}}
    assert operate._completed({"memory": {"swap": 8}}, former) == {"memory": {"limit": 7, "swap": 8}}
    assert operate._completed({"memory": {"limit": 20}}, former) == {"memory": {"limit": 20}}


def owner(mounts: list[str] | None, *kinds: str, uid: int = 5) -> int | None:
    """Whose the group is, with a cgroup mount of these options and new namespaces of these kinds."""
    mounted: Any = [] if mounts is None else [{"destination": "/c", "type": "cgroup", "options": mounts}]
    linux: Any = {
        "namespaces": [{"type": kind} for kind in kinds],
        "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 10}],
    }
    return cgroups.owner_of({"mounts": mounted, "linux": linux, "process": {"user": {"uid": uid, "gid": 0}}})


def test_the_group_is_given_to_the_user_inside_who_can_write_it() -> None:
    assert owner(["rw"], "cgroup", "user") == owner([], "cgroup", "user") == 100005
    assert owner(["rw"], "cgroup", "user", uid=10) is None
    assert owner(["ro"], "cgroup", "user") is None
    assert owner(None, "cgroup", "user") is None
    assert owner(["rw"], "user") is owner(["rw"], "cgroup") is None
