"""A cgroupsPath as the name of a unit, without a systemd to ask."""

from __future__ import annotations

import os
from typing import Any

import pytest

from minicontainerd.errors import InvalidArgument
from minicontainerd.linux import cgroup
from minicontainerd.run import units


def unit(path: str) -> units.Unit:
    return units.unit_of({"linux": {"cgroupsPath": path}}, "id")


def test_a_path_has_a_slice_a_prefix_and_a_name() -> None:
    assert unit("a-b.slice:pre:one") == ("a-b.slice", "pre-one.scope")
    assert unit("a.slice::one") == ("a.slice", "one.scope")
    assert unit(":pre:one").name == "pre-one.scope"


@pytest.mark.parametrize(("uid", "slice"), [(0, "system.slice"), (1000, "user.slice")])
def test_without_one_it_is_where_the_users_units_are(monkeypatch: pytest.MonkeyPatch, uid: int, slice: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert unit("") == (slice, "minirunc-id.scope")


@pytest.mark.parametrize("path", ["/a/b", "a.slice:one", "a.slice:pre:", "a.slice:../..:one", "a.slice:pre:one.slice"])
def test_what_names_no_scope_is_refused(path: str) -> None:
    with pytest.raises(InvalidArgument):
        unit(path)


@pytest.mark.parametrize("slice", ["a", "a/b.slice", "a--b.slice", "-a.slice", ".slice", "../a.slice"])
def test_what_names_no_slice_is_refused(monkeypatch: pytest.MonkeyPatch, slice: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(InvalidArgument, match="invalid slice name"):
        units.folder_of(units.Unit(slice, "x.scope"))


def test_the_folder_is_below_each_slice_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cgroup, "tree", lambda: "/tree")
    assert units.folder_of(units.Unit("a-b.slice", "x.scope")) == "/tree/a.slice/a-b.slice/x.scope"
    assert units.folder_of(units.Unit("-.slice", "x.scope")) == "/tree/x.scope"


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"cpu": {"quota": -1}}, {"CPUQuotaPeriodUSec": 100_000, "CPUQuotaPerSecUSec": cgroup.UNLIMITED}),
        ({"cpu": {"quota": 1_001, "period": 100_000}}, {"CPUQuotaPeriodUSec": 100_000, "CPUQuotaPerSecUSec": 20_000}),
        ({"memory": {"limit": 8192, "swap": 12288}}, {"MemorySwapMax": 4096, "MemoryMax": 8192}),
        ({"unified": {"memory.high": "max", "io.weight": "8:0 50"}}, {"MemoryHigh": cgroup.UNLIMITED}),
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}, {}),
    ],
)
def test_limits_are_properties(resources: Any, expected: dict[str, int]) -> None:
    assert {name: value for name, (_, value) in units.properties(resources)} == expected


@pytest.mark.parametrize("cpus", ["0-", "x", "0-99999999999", "1,,2"])
def test_a_list_of_processors_is_read_with_care(cpus: str) -> None:
    with pytest.raises(InvalidArgument, match="no list of numbers"):
        units.properties({"cpu": {"cpus": cpus}})
