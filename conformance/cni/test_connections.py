"""Packets: who reaches whom, seen by sending something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from conformance.cni.conftest import Attach
from conformance.cni.harness import Config, Plugins
from conformance.networks import Namespace, answers

Make = Callable[[], Namespace]
FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


def published(*mappings: dict[str, Any], **more: Any) -> Config:
    return {
        "cniVersion": "1.0.0",
        "name": "web",
        "type": "portmap",
        "runtimeConfig": {"portMappings": list(mappings)},
        **more,
    }


@FAMILIES
@pytest.mark.clause("cni.bridge.connects")
def test_containers_on_one_bridge_reach_each_other_and_the_gateway(
    attach: Attach, host: Namespace, version: int
) -> None:
    one, two = attach(), attach()
    assert answers(two.container, one.container, two.address(version), 80) == one.address(version)
    gateway = "10.9.0.1" if version == 4 else "fd09::1"
    assert answers(host, one.container, gateway, 80) == one.address(version)
    assert answers(one.container, host, one.address(version), 80) == gateway


@FAMILIES
@pytest.mark.clause("cni.bridge.masquerade")
def test_what_leaves_has_the_hosts_address_and_what_stays_has_its_own(
    attach: Attach, outside: Namespace, version: int
) -> None:
    one, two = attach(), attach()
    world, host = ("192.0.2.2", "192.0.2.1") if version == 4 else ("2001:db8:2::2", "2001:db8:2::1")
    for kind in ("tcp", "udp"):
        assert answers(outside, one.container, world, 80, kind=kind) == host
        assert answers(two.container, one.container, two.address(version), 80, kind=kind) == one.address(version)


@FAMILIES
@pytest.mark.clause("cni.bridge.masquerade")
def test_without_masquerade_the_world_finds_no_way_back(
    attach: Attach, network: Config, outside: Namespace, version: int
) -> None:
    one = attach({**network, "ipMasq": False})
    assert answers(outside, one.container, "192.0.2.2" if version == 4 else "2001:db8:2::2", 80) == ""


@FAMILIES
@pytest.mark.clause("cni.bridge.masquerade", "cni.del.undo")
def test_after_del_nothing_of_a_containers_is_left(
    attach: Attach, network: Config, outside: Namespace, host: Namespace, version: int
) -> None:
    attached = attach(network, published({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}))
    assert host.has(attached.address(version))
    attached.delete()
    assert not host.has(attached.address(version))
    assert [name for name in host.links() if name not in ("lo", "mini0", "uplink")] == []
    assert set(attached.container.links()) == {"lo"}


@FAMILIES
@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.clause("cni.portmap.reaches")
def test_a_published_port_is_reached_from_everywhere(
    attach: Attach, network: Config, host: Namespace, outside: Namespace, kind: str, version: int
) -> None:
    mapping = {"hostPort": 8080, "containerPort": 80, "protocol": kind}
    network = {**network, "hairpinMode": True}  # or a switch does not send a container's own frames back to it
    server = attach(network, published(mapping))
    client = attach(network)
    face = "192.0.2.1" if version == 4 else "2001:db8:2::1"
    world = "192.0.2.2" if version == 4 else "2001:db8:2::2"
    assert answers(server.container, outside, face, 8080, listen=80, kind=kind) == world
    assert answers(server.container, host, face, 8080, listen=80, kind=kind) != ""
    assert answers(server.container, client.container, face, 8080, listen=80, kind=kind) != ""
    assert answers(server.container, server.container, face, 8080, listen=80, kind=kind) != ""
    if version == 4:
        assert answers(server.container, host, "127.0.0.1", 8080, listen=80, kind=kind) != ""
    server.delete()
    assert answers(server.container, outside, face, 8080, listen=80, kind=kind) == ""


@pytest.mark.clause("cni.portmap.host-ip")
def test_a_mapping_with_an_address_is_for_that_address_only(
    attach: Attach, network: Config, host: Namespace, outside: Namespace
) -> None:
    host.run("ip", "address", "add", "192.0.2.3/24", "dev", "uplink")
    one = attach(network, published({"hostPort": 80, "containerPort": 81, "protocol": "tcp", "hostIP": "192.0.2.3"}))
    assert answers(one.container, outside, "192.0.2.3", 80, listen=81) == "192.0.2.2"
    assert answers(one.container, outside, "192.0.2.1", 80, listen=81) == ""


@pytest.mark.clause("cni.portmap.host-ip")
def test_the_unspecified_address_means_every_one(attach: Attach, network: Config, outside: Namespace) -> None:
    one = attach(network, published({"hostPort": 80, "containerPort": 81, "protocol": "tcp", "hostIP": "0.0.0.0"}))
    assert answers(one.container, outside, "192.0.2.1", 80, listen=81) == "192.0.2.2"


@pytest.mark.clause("cni.portmap.reaches")
def test_two_containers_and_many_ports(attach: Attach, network: Config, outside: Namespace) -> None:
    mappings = [{"hostPort": 8000 + n, "containerPort": 100 + n, "protocol": "tcp"} for n in range(20)]
    one = attach(network, published(*mappings))
    two = attach(network, published({"hostPort": 9000, "containerPort": 100, "protocol": "tcp"}))
    assert answers(one.container, outside, "192.0.2.1", 8019, listen=119) == "192.0.2.2"
    assert answers(two.container, outside, "192.0.2.1", 9000, listen=100) == "192.0.2.2"
    one.delete()
    assert answers(two.container, outside, "192.0.2.1", 9000, listen=100) == "192.0.2.2"


@pytest.mark.clause("cni.portmap.wrong", "cni.error.form")
@pytest.mark.parametrize(
    "mapping",
    [
        {"hostPort": 0, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 80, "containerPort": -1, "protocol": "tcp"},
        {"hostPort": "80", "containerPort": 80, "protocol": "tcp"},
    ],
)
def test_a_port_that_cannot_be_is_refused(
    plugins: Plugins, attach: Attach, network: Config, mapping: dict[str, Any]
) -> None:
    one = attach(network)
    config = {**published(mapping), "prevResult": one.result}
    answer = plugins.call("ADD", config, containerid="c0", netns=one.netns, ifname="eth0")
    assert answer.code != 0 and answer.said["msg"]


def firewall(**more: Any) -> Config:
    return {"cniVersion": "1.0.0", "name": "web", "type": "firewall", **more}


def forward_nothing(host: Namespace) -> None:
    """As many hosts are set up: what is not allowed is not forwarded."""
    for program in ("iptables", "ip6tables"):
        host.run(program, "-P", "FORWARD", "DROP")


@FAMILIES
@pytest.mark.clause("cni.firewall.allows")
def test_on_a_host_that_forwards_nothing_the_containers_own_connections_work(
    attach: Attach, network: Config, host: Namespace, outside: Namespace, version: int
) -> None:
    forward_nothing(host)
    world = "192.0.2.2" if version == 4 else "2001:db8:2::2"
    without = attach(network)
    assert answers(outside, without.container, world, 80) == ""
    allowed = attach(network, firewall())
    assert answers(outside, allowed.container, world, 80) != ""
    allowed.delete()
    assert not host.has(allowed.address(version))


@FAMILIES
@pytest.mark.clause("cni.firewall.allows")
def test_a_host_that_forwards_nothing_still_lets_nobody_in(
    attach: Attach, network: Config, host: Namespace, outside: Namespace, version: int
) -> None:
    forward_nothing(host)
    one = attach(network, firewall())
    gateway = "192.0.2.1" if version == 4 else "2001:db8:2::1"
    prefix = "10.9.0.0/24" if version == 4 else "fd09::/64"
    outside.run("ip", f"-{version}", "route", "add", prefix, "via", gateway)
    assert answers(one.container, outside, one.address(version), 80) == ""


@FAMILIES
@pytest.mark.clause("cni.firewall.apart")
def test_two_networks_are_kept_apart(
    attach: Attach, network: Config, host: Namespace, ipam: Config, outside: Namespace, version: int
) -> None:
    other_ipam = {**ipam, "ranges": [[{"subnet": "10.8.0.0/24"}], [{"subnet": "fd08::/64"}]]}
    other = {**network, "name": "db", "bridge": "mini1", "ipam": other_ipam}
    one = attach(network, firewall(ingressPolicy="same-bridge"))
    same = attach(network, firewall(ingressPolicy="same-bridge"))
    two = attach(other, firewall(ingressPolicy="same-bridge", name="db"))
    assert answers(two.container, one.container, two.address(version), 80) == ""
    assert answers(one.container, two.container, one.address(version), 80) == ""
    assert answers(same.container, one.container, same.address(version), 80) == one.address(version)
    assert answers(outside, one.container, "192.0.2.2" if version == 4 else "2001:db8:2::2", 80) != ""


@pytest.mark.clause("cni.check.untracked", "cni.check.at-once")
def test_check_finds_rules_that_are_missing(attach: Attach, network: Config, host: Namespace) -> None:
    mapping = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
    one = attach(network, published(mapping), firewall())
    assert [answer.code for answer in one.check()] == [0, 0, 0]
    host.run("nft", "flush", "ruleset")
    failed = [answer.code != 0 for answer in one.check()]
    assert failed[1:] == [True, True]
