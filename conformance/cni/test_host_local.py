"""``host-local``: which address, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.cni.harness import Answer, Config, Plugins

Leases = Callable[[], list[str]]


@pytest.fixture
def ask(plugins: Plugins, tmp_path: Path) -> Callable[..., Answer]:
    """Ask host-local: the command, the container, and what is special in ``ipam``."""

    def ask(command: str, id: str, version: str = "1.0.0", args: str = "", more: Any = None, **ipam: Any) -> Answer:
        ipam = {"type": "host-local", "dataDir": str(tmp_path / "leases"), **ipam}
        config: Config = {"cniVersion": version, "name": "web", "type": "host-local", "ipam": ipam, **(more or {})}
        return plugins.call(command, config, containerid=id, netns="/proc/none", ifname="eth0", args=args or None)

    return ask


def given(answer: Answer) -> list[str]:
    return [each["address"] for each in answer.result["ips"]]


@pytest.mark.clause("cni.host-local.ranges")
def test_addresses_come_in_order_without_the_gateway(ask: Callable[..., Answer]) -> None:
    ipam = {"subnet": "10.3.0.0/29", "gateway": "10.3.0.3"}
    assert [given(ask("ADD", f"c{n}", **ipam)) for n in range(4)] == [
        ["10.3.0.1/29"],
        ["10.3.0.2/29"],
        ["10.3.0.4/29"],
        ["10.3.0.5/29"],
    ]


@pytest.mark.clause("cni.host-local.ranges")
def test_an_address_rests_before_it_is_given_again(ask: Callable[..., Answer]) -> None:
    ipam = {"subnet": "10.3.0.0/29"}
    assert given(ask("ADD", "c1", **ipam)) == ["10.3.0.2/29"]
    ask("DEL", "c1", **ipam).result  # noqa: B018
    assert given(ask("ADD", "c2", **ipam)) == ["10.3.0.3/29"]
    for n in range(3):
        ask("ADD", f"d{n}", **ipam).result  # noqa: B018
    assert given(ask("ADD", "c3", **ipam)) == ["10.3.0.2/29"]


@pytest.mark.clause("cni.host-local.ranges")
def test_a_set_of_ranges_is_used_range_by_range(ask: Callable[..., Answer]) -> None:
    ranges = [
        [
            {"subnet": "10.3.0.0/24", "rangeStart": "10.3.0.10", "rangeEnd": "10.3.0.11", "gateway": "10.3.0.254"},
            {"subnet": "10.4.0.0/24", "rangeStart": "10.4.0.20", "rangeEnd": "10.4.0.20"},
        ],
        [{"subnet": "fd03::/64"}],
    ]
    answers = [ask("ADD", f"c{n}", ranges=ranges) for n in range(3)]
    assert [given(answer) for answer in answers] == [
        ["10.3.0.10/24", "fd03::2/64"],
        ["10.3.0.11/24", "fd03::3/64"],
        ["10.4.0.20/24", "fd03::4/64"],
    ]
    assert [answer.said["ips"][0]["gateway"] for answer in answers] == ["10.3.0.254", "10.3.0.254", "10.4.0.1"]


@pytest.mark.clause("cni.host-local.exhausted")
def test_when_none_is_left_it_says_so_and_takes_none_of_another_set(ask: Callable[..., Answer], leases: Leases) -> None:
    ranges = [[{"subnet": "fd03::/64"}], [{"subnet": "10.3.0.0/30"}]]
    ask("ADD", "c1", ranges=ranges).result  # noqa: B018
    answer = ask("ADD", "c2", ranges=ranges)
    assert answer.code != 0 and "no IP addresses available" in answer.said["msg"]
    assert leases() == ["10.3.0.2", "fd03::2"]
    ask("DEL", "c1", ranges=ranges).result  # noqa: B018
    assert given(ask("ADD", "c3", ranges=ranges))[1] == "10.3.0.2/30"


@pytest.mark.clause("cni.host-local.requested")
@pytest.mark.parametrize("way", ["CNI_ARGS", "args", "runtimeConfig"])
def test_an_address_can_be_asked_for(ask: Callable[..., Answer], way: str) -> None:
    args = "IP=10.3.0.77" if way == "CNI_ARGS" else ""
    more = {
        "CNI_ARGS": {},
        "args": {"args": {"cni": {"ips": ["10.3.0.77"]}}},
        "runtimeConfig": {"runtimeConfig": {"ips": ["10.3.0.77/24"]}},
    }[way]
    assert given(ask("ADD", "c1", subnet="10.3.0.0/24", args=args, more=more)) == ["10.3.0.77/24"]
    for id in ("c1", "c2"):
        again = ask("ADD", id, subnet="10.3.0.0/24", args=args, more=more)
        assert again.code != 0 and "10.3.0" in again.said["msg"]


@pytest.mark.clause("cni.host-local.requested")
@pytest.mark.parametrize("ip", ["10.3.0.1", "10.99.0.1", "fd00::1"])
def test_an_address_that_is_not_to_be_had_is_refused(ask: Callable[..., Answer], leases: Leases, ip: str) -> None:
    answer = ask("ADD", "c1", subnet="10.3.0.0/24", more={"runtimeConfig": {"ips": [ip]}})
    assert answer.code != 0 and ip in answer.said["msg"] and leases() == []


@pytest.mark.clause("cni.host-local.requested")
def test_ranges_can_come_from_the_runtime(ask: Callable[..., Answer]) -> None:
    more = {"runtimeConfig": {"ipRanges": [[{"subnet": "10.55.0.0/24"}]]}}
    assert given(ask("ADD", "c1", more=more)) == ["10.55.0.2/24"]


@pytest.mark.clause("cni.add.once")
def test_an_interface_gets_no_second_address(ask: Callable[..., Answer], leases: Leases) -> None:
    ask("ADD", "c1", subnet="10.3.0.0/24").result  # noqa: B018
    again = ask("ADD", "c1", subnet="10.3.0.0/24")
    assert again.code != 0 and "10.3.0.2" in again.said["msg"]


@pytest.mark.clause("cni.host-local.wrong")
@pytest.mark.parametrize(
    "ipam",
    [
        {},
        {"subnet": "10.3.0.0/31"},
        {"subnet": "10.3.0.5/24"},
        {"subnet": "here"},
        {"subnet": "10.3.0.0/24", "rangeStart": "10.4.0.1"},
        {"subnet": "10.3.0.0/24", "rangeEnd": "10.4.0.1"},
        {"ranges": [[{"subnet": "10.3.0.0/24"}], [{"subnet": "10.3.0.0/24"}]]},
        {"ranges": [[{"subnet": "10.3.0.0/24"}, {"subnet": "fd03::/64"}]]},
        {"ranges": [[]]},
    ],
)
def test_ranges_that_cannot_be_are_refused(ask: Callable[..., Answer], leases: Leases, ipam: dict[str, Any]) -> None:
    answer = ask("ADD", "c1", **ipam)
    assert answer.code != 0 and answer.said["msg"] and leases() == []


@pytest.mark.clause("cni.result.routes")
def test_routes_and_dns_are_passed_on(ask: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 10.0.0.53\nsearch a.example b.example\noptions ndots:2\n# no\n")
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "10.8.0.0/16", "gw": "10.3.0.9"}]
    result = ask("ADD", "c1", subnet="10.3.0.0/24", routes=routes, resolvConf=str(tmp_path / "resolv.conf")).result
    assert result["routes"] == routes
    assert result["dns"] == {
        "nameservers": ["10.0.0.53"],
        "search": ["a.example", "b.example"],
        "options": ["ndots:2"],
    }


@pytest.mark.clause("cni.check.untracked", "cni.check.at-once")
def test_check_is_about_the_reservation(ask: Callable[..., Answer]) -> None:
    ask("ADD", "c1", subnet="10.3.0.0/24").result  # noqa: B018
    assert ask("CHECK", "c1", subnet="10.3.0.0/24").code == 0
    assert ask("CHECK", "c2", subnet="10.3.0.0/24").code != 0
    ask("DEL", "c1", subnet="10.3.0.0/24").result  # noqa: B018
    assert ask("CHECK", "c1", subnet="10.3.0.0/24").code != 0


@pytest.mark.clause("cni.life.concurrent")
def test_a_lease_says_whose_it_is(ask: Callable[..., Answer], tmp_path: Path) -> None:
    """In a form that every implementation reads, so that one can release what another reserved."""
    ask("ADD", "c1", subnet="10.3.0.0/24").result  # noqa: B018
    assert (tmp_path / "leases" / "web" / "10.3.0.2").read_bytes() == b"c1\r\neth0"
    assert (tmp_path / "leases" / "web" / "last_reserved_ip.0").read_text() == "10.3.0.2"
