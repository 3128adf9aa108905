"""``bridge`` and ``loopback``: what is set up, option by option."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conformance.cni.conftest import Attach
from conformance.cni.harness import Config, Plugins
from conformance.networks import Namespace, answers

Make = Callable[[], Namespace]


def speaks_newest(plugins: Plugins) -> bool:
    """Whether this is a plugin of today: some options came after CNI 1.1.0, which it says that it speaks."""
    return "1.1.0" in plugins.call("VERSION", {"cniVersion": "1.0.0", "type": "bridge"}).result["supportedVersions"]


@pytest.mark.clause("cni.loopback.up", "cni.del.undo", "cni.check.missing")
def test_loopback_is_up_and_down_again(plugins: Plugins, make: Make) -> None:
    container = make()
    container.run("ip", "link", "set", "lo", "down")
    config: Config = {"cniVersion": "1.0.0", "name": "lo", "type": "loopback"}
    told = {"containerid": "c1", "netns": container.path, "ifname": "lo"}
    result = plugins.call("ADD", config, **told).result
    [mine] = result["interfaces"]
    assert (mine["name"], mine["mac"], mine["sandbox"]) == ("lo", "00:00:00:00:00:00", container.path)
    assert result["ips"][0]["address"] == "127.0.0.1/8"
    assert answers(container, container, "127.0.0.1", 80) == "127.0.0.1"
    assert plugins.call("CHECK", {**config, "prevResult": result}, **told).code == 0
    plugins.call("DEL", {**config, "prevResult": result}, **told).result  # noqa: B018  (it must have worked)
    assert "UP" not in container.links()["lo"]["flags"]
    assert plugins.call("CHECK", {**config, "prevResult": result}, **told).code != 0


@pytest.mark.clause("cni.add.interface")
def test_the_interface_has_addresses_and_routes(attach: Attach) -> None:
    one = attach()
    assert one.container.addresses("eth0") == ["10.9.0.2/24", "fd09::2/64"]
    routes = {(route["dst"], route.get("gateway")) for route in one.container.ip("route")}
    assert routes == {("default", "10.9.0.1"), ("10.9.0.0/24", None)}
    routes6 = {(route["dst"], route.get("gateway")) for route in one.container.ip("-6", "route")}
    assert {("default", "fd09::1"), ("fd09::/64", None)} <= routes6


@pytest.mark.clause("cni.bridge.options")
def test_the_bridge_is_the_gateway_and_the_host_forwards(attach: Attach, host: Namespace) -> None:
    attach()
    assert host.addresses("mini0") == ["10.9.0.1/24", "fd09::1/64"]
    assert host.setting("ipv4/ip_forward") == "1" and host.setting("ipv6/conf/all/forwarding") == "1"


@pytest.mark.clause("cni.bridge.options")
def test_without_is_gateway_the_bridge_has_no_address(attach: Attach, host: Namespace, network: Config) -> None:
    attach({**network, "isGateway": False, "ipMasq": False, "ipam": {**network["ipam"], "routes": []}})
    assert host.addresses("mini0") == []


@pytest.mark.clause("cni.bridge.options")
def test_is_default_gateway_adds_default_routes(attach: Attach, network: Config) -> None:
    one = attach({**network, "isGateway": False, "isDefaultGateway": True, "ipam": {**network["ipam"], "routes": []}})
    [route] = [route for route in one.container.ip("route") if route["dst"] == "default"]
    assert route["gateway"] == "10.9.0.1"
    assert {route["dst"] for route in one.result["routes"]} == {"0.0.0.0/0", "::/0"}


@pytest.mark.clause("cni.bridge.options")
def test_hairpin_mode(attach: Attach, host: Namespace, network: Config) -> None:
    name = attach({**network, "hairpinMode": True}).result["interfaces"][1]["name"]
    assert host.links()[name]["linkinfo"]["info_slave_data"]["hairpin"] is True
    name = attach(network).result["interfaces"][1]["name"]
    assert host.links()[name]["linkinfo"]["info_slave_data"]["hairpin"] is False


@pytest.mark.clause("cni.bridge.options")
def test_promiscuous_mode(attach: Attach, host: Namespace, network: Config) -> None:
    attach({**network, "promiscMode": True})
    assert "PROMISC" in host.links()["mini0"]["flags"]


@pytest.mark.clause("cni.bridge.options")
def test_both_modes_at_once_are_refused(plugins: Plugins, network: Config, make: Make) -> None:
    config = {**network, "promiscMode": True, "hairpinMode": True}
    assert plugins.call("ADD", config, containerid="c1", netns=make().path, ifname="eth0").code != 0


@pytest.mark.clause("cni.bridge.options")
def test_mtu_and_hardware_address(attach: Attach, host: Namespace, network: Config) -> None:
    one = attach({**network, "mtu": 1400, "runtimeConfig": {"mac": "02:00:00:00:00:42"}})
    link = one.container.links()["eth0"]
    assert (link["mtu"], link["address"]) == (1400, "02:00:00:00:00:42")
    assert host.links()[one.result["interfaces"][1]["name"]]["mtu"] == 1400
    assert one.result["interfaces"][2]["mac"] == "02:00:00:00:00:42"


@pytest.mark.clause("cni.bridge.options")
def test_another_address_on_the_bridge_is_an_error_or_replaced(
    plugins: Plugins, attach: Attach, host: Namespace, network: Config, make: Make, leases: Callable[[], list[str]]
) -> None:
    attach().delete()
    ipam = {**network["ipam"], "ranges": [[{"subnet": "10.7.0.0/24"}]], "routes": []}
    config, container = {**network, "name": "other", "ipam": ipam, "ipMasq": False}, make()
    answer = plugins.call("ADD", config, containerid="c9", netns=container.path, ifname="eth0")
    assert answer.code != 0 and "address" in answer.said["msg"]
    plugins.call("DEL", config, containerid="c9", netns=container.path, ifname="eth0").result  # noqa: B018
    assert set(container.links()) == {"lo"} and leases() == []
    attach({**config, "forceAddress": True}, container=container)
    assert host.addresses("mini0") == ["10.7.0.1/24", "fd09::1/64"]


@pytest.mark.clause("cni.bridge.options")
def test_an_interface_that_is_no_bridge_is_refused(
    plugins: Plugins, host: Namespace, network: Config, make: Make
) -> None:
    host.run("ip", "link", "add", "mini0", "type", "veth", "peer", "name", "other")
    assert plugins.call("ADD", network, containerid="c1", netns=make().path, ifname="eth0").code != 0
    assert set(host.links()) == {"lo", "mini0", "other"}


@pytest.mark.clause("cni.bridge.options", "cni.add.interface")
def test_without_ipam_there_is_a_cable_and_no_address(attach: Attach, network: Config) -> None:
    one = attach({key: value for key, value in network.items() if key != "ipam"})
    assert not one.result.get("ips") and one.container.addresses("eth0") == []
    assert "UP" in one.container.links()["eth0"]["flags"]


@pytest.mark.clause("cni.bridge.options")
def test_dns_of_the_configuration_is_in_the_result(attach: Attach, network: Config) -> None:
    dns = {"nameservers": ["10.9.0.1"], "domain": "a.example", "search": ["b.example"], "options": ["ndots:5"]}
    assert attach({**network, "dns": dns}).result["dns"] == dns


@pytest.mark.clause("cni.bridge.isolation")
def test_isolated_ports_do_not_hear_each_other(attach: Attach, plugins: Plugins, network: Config) -> None:
    one, two = (attach({**network, "portIsolation": True}) for _ in range(2))
    if not speaks_newest(plugins):
        pytest.skip("a bridge plugin from before CNI 1.1.0 has no portIsolation")
    assert answers(two.container, one.container, two.address(), 80) == ""
    three = attach(network)
    assert answers(three.container, one.container, three.address(), 80) == one.address()


@pytest.mark.clause("cni.add.once", "cni.add.interface")
def test_a_container_can_be_on_two_networks(attach: Attach, network: Config, ipam: Config, make: Make) -> None:
    container = make()
    more = {"ranges": [[{"subnet": "10.8.0.0/24"}]], "routes": []}
    attach(network, container=container, id="c1")
    attach(
        {**network, "name": "db", "bridge": "mini1", "ipam": {**ipam, **more}},
        container=container,
        id="c1",
        ifname="eth1",
    )
    assert container.addresses("eth0") == ["10.9.0.2/24", "fd09::2/64"]
    assert container.addresses("eth1") == ["10.8.0.2/24"]


@pytest.mark.clause("cni.check.at-once", "cni.check.previous", "cni.check.delegate", "cni.check.missing")
@pytest.mark.parametrize(
    "damage",
    [
        "ip address del 10.9.0.2/24 dev eth0",
        "ip address del fd09::2/64 dev eth0",
        "ip route del default",
        "ip link set eth0 address 02:00:00:00:00:99",
        "ip link del eth0",
    ],
)
def test_check_finds_what_is_missing(attach: Attach, damage: str) -> None:
    one = attach()
    assert one.check()[0].code == 0
    one.container.run(*damage.split())
    answer = one.check()[0]
    assert answer.code != 0 and answer.said["msg"]


@pytest.mark.clause("cni.check.delegate", "cni.check.untracked")
def test_check_finds_a_reservation_that_is_missing(
    attach: Attach, leases: Callable[[], list[str]], ipam: Config
) -> None:
    from pathlib import Path

    one = attach()
    for name in leases():
        Path(ipam["dataDir"], "web", name).unlink()
    assert one.check()[0].code != 0


@pytest.mark.clause("cni.check.later-plugins")
def test_check_lets_a_later_plugin_have_added_things(attach: Attach) -> None:
    one = attach()
    one.container.run("ip", "route", "add", "10.66.0.0/16", "via", "10.9.0.1")
    one.container.run("ip", "address", "add", "10.9.0.77/24", "dev", "eth0")
    assert one.check()[0].code == 0


@pytest.mark.clause("cni.del.best-effort", "cni.del.undo")
@pytest.mark.parametrize("gone", ["namespace", "interface", "bridge", "no name"])
def test_del_does_what_can_be_done(attach: Attach, host: Namespace, leases: Callable[[], list[str]], gone: str) -> None:
    one = attach()
    if gone == "namespace":
        one.container.close()
    elif gone == "interface":
        one.container.run("ip", "link", "del", "eth0")
    elif gone == "bridge":
        host.run("ip", "link", "del", "mini0")
    one.delete(netns="" if gone == "no name" else None)
    assert leases() == []
