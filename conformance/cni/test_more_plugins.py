"""The other plugins, each by what it is for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.cni.conftest import Attach
from conformance.cni.harness import Attached, Config, Plugins
from conformance.networks import Namespace, answers
from minicontainerd.linux.namespaces import inside

Make = Callable[[], Namespace]
Leases = Callable[[], list[str]]
FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


def made_of(kind: str) -> pytest.MarkDecorator:
    """What the kernel of a test must have."""
    return pytest.mark.needs("root", f"interface:{kind}")


@FAMILIES
@pytest.mark.clause("cni.ptp.connects", "cni.check.at-once", "cni.del.undo")
def test_ptp_connects_by_routes(
    attach: Attach, network: Config, host: Namespace, outside: Namespace, leases: Leases, version: int
) -> None:
    config = {**network, "type": "ptp"}
    one, two = attach(config), attach(config)
    assert [each["interface"] for each in one.result["ips"]] == [1, 1]
    assert one.container.addresses("eth0") == ["10.9.0.2/24", "fd09::2/64"]
    assert answers(two.container, one.container, two.address(version), 80) != ""
    assert answers(host, one.container, "10.9.0.1" if version == 4 else "fd09::1", 80) == one.address(version)
    world, face = ("192.0.2.2", "192.0.2.1") if version == 4 else ("2001:db8:2::2", "2001:db8:2::1")
    assert answers(outside, one.container, world, 80) == face
    assert [answer.code for answer in one.check()] == [0]
    for attached in (one, two):
        attached.delete()
    assert leases() == [] and set(host.links()) == {"lo", "uplink"}
    assert not (host.has("10.9.0.") or host.has("fd09::"))


@pytest.mark.clause("cni.ptp.connects")
def test_ptp_has_the_routes_of_a_cable(attach: Attach, network: Config, host: Namespace) -> None:
    one = attach({**network, "type": "ptp", "mtu": 1300})
    routes = {(route["dst"], route.get("gateway")) for route in one.container.ip("route")}
    assert routes == {("default", "10.9.0.1"), ("10.9.0.0/24", "10.9.0.1"), ("10.9.0.1", None)}
    routes6 = {(route["dst"], route.get("gateway")) for route in one.container.ip("-6", "route")}
    assert {("default", "fd09::1"), ("fd09::/64", "fd09::1"), ("fd09::1", None)} <= routes6
    port = one.result["interfaces"][0]["name"]
    assert host.addresses(port) == ["10.9.0.1/32", "fd09::1/128"]
    assert "10.9.0.2" in {route["dst"] for route in host.ip("route")}
    assert one.container.links()["eth0"]["mtu"] == host.links()[port]["mtu"] == 1300


@pytest.mark.clause("cni.static.addresses", "cni.result.ipam")
@pytest.mark.parametrize("way", ["configuration", "args", "runtimeConfig", "CNI_ARGS"])
def test_static_gives_what_it_is_told(plugins: Plugins, way: str) -> None:
    ipam: Config = {"type": "static", "routes": [{"dst": "0.0.0.0/0"}], "dns": {"nameservers": ["10.5.0.1"]}}
    config: Config = {"cniVersion": "1.0.0", "name": "web", "type": "static", "ipam": ipam}
    wanted = ["10.5.0.7/24", "fd05::7/64"]
    args = None
    if way == "configuration":
        ipam["addresses"] = [{"address": wanted[0], "gateway": "10.5.0.1"}, {"address": wanted[1]}]
    elif way == "args":
        config["args"] = {"cni": {"ips": wanted}}
        ipam["addresses"] = [{"address": "10.99.0.1/24"}]
    elif way == "runtimeConfig":
        config["runtimeConfig"] = {"ips": wanted}
    else:
        args = "IP=10.5.0.7/24,fd05::7/64;GATEWAY=10.5.0.1"
    told: dict[str, str | None] = {"containerid": "c1", "netns": "/proc/none", "ifname": "eth0", "args": args}
    result = plugins.call("ADD", config, **told).result
    assert [each["address"] for each in result["ips"]] == wanted
    assert result["ips"][0].get("gateway") == ("10.5.0.1" if way in ("configuration", "CNI_ARGS") else None)
    assert result["routes"] == [{"dst": "0.0.0.0/0"}] and result["dns"] == {"nameservers": ["10.5.0.1"]}
    assert plugins.call("CHECK", {**config, "prevResult": result}, **told).code == 0
    assert plugins.call("DEL", config, **told).code == 0


@pytest.mark.clause("cni.static.addresses", "cni.error.form")
@pytest.mark.parametrize("address", ["10.5.0.7", "here/24", "10.5.0.300/24"])
def test_static_refuses_what_is_no_address(plugins: Plugins, address: str) -> None:
    ipam = {"type": "static", "addresses": [{"address": address}]}
    config: Config = {"cniVersion": "1.0.0", "name": "web", "type": "static", "ipam": ipam}
    answer = plugins.call("ADD", config, containerid="c1", netns="/proc/none", ifname="eth0")
    assert answer.code != 0 and address in answer.said["msg"]


@pytest.fixture
def tuning(tmp_path: Path) -> Config:
    return {"cniVersion": "1.0.0", "name": "web", "type": "tuning", "dataDir": str(tmp_path / "tuning")}


@pytest.mark.clause("cni.tuning.settings", "cni.check.untracked", "cni.add.previous")
def test_tuning_sets_checks_and_puts_back(attach: Attach, network: Config, tuning: Config) -> None:
    one = attach(network)
    before = one.container.links()["eth0"]
    wanted = {"mac": "02:00:00:00:00:77", "mtu": 1350, "promisc": True, "allmulti": True}
    sysctl = {"net.ipv4.conf.eth0.log_martians": "1", "net/ipv4/ip_unprivileged_port_start": "80"}
    one.configs = [{**tuning, **wanted, "sysctl": sysctl}]
    network_result = one.result
    told = {**one.configs[0], "prevResult": network_result}
    one.result = one._call("ADD", told).result
    link = one.container.links()["eth0"]
    assert (link["address"], link["mtu"]) == ("02:00:00:00:00:77", 1350)
    assert {"PROMISC", "ALLMULTI"} <= set(link["flags"])
    assert one.container.setting("ipv4/conf/eth0/log_martians") == "1"
    assert one.container.setting("ipv4/ip_unprivileged_port_start") == "80"
    assert one.result["interfaces"][2]["mac"] == "02:00:00:00:00:77"
    assert [answer.code for answer in one.check()] == [0]
    one.container.run("ip", "link", "set", "eth0", "mtu", "1400")
    assert [answer.code != 0 for answer in one.check()] == [True]
    one.delete()
    link = one.container.links()["eth0"]
    assert (link["address"], link["mtu"]) == (before["address"], before["mtu"])
    assert not {"PROMISC", "ALLMULTI"} & set(link["flags"])


@pytest.mark.clause("cni.tuning.settings")
@pytest.mark.parametrize("sysctl", [{"kernel.hostname": "x"}, {"net/../kernel/hostname": "x"}, {"net.no.such": "1"}])
def test_tuning_takes_only_settings_of_the_network(
    plugins: Plugins, attach: Attach, tuning: Config, sysctl: dict[str, str]
) -> None:
    one = attach()
    config = {**tuning, "sysctl": sysctl, "prevResult": one.result}
    answer = plugins.call("ADD", config, containerid="c0", netns=one.netns, ifname="eth0")
    assert answer.code != 0 and answer.said["msg"]


@pytest.mark.clause("cni.bandwidth.limits", "cni.check.untracked")
@pytest.mark.parametrize("way", ["configuration", "runtimeConfig"])
def test_bandwidth_limits_both_ways(attach: Attach, network: Config, host: Namespace, way: str) -> None:
    limits = {"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 4_000_000, "egressBurst": 400_000}
    config: Config = {"cniVersion": "1.0.0", "name": "web", "type": "bandwidth"}
    config |= limits if way == "configuration" else {"runtimeConfig": {"bandwidth": limits}}
    one = attach(network, config)
    port, ifb = one.result["interfaces"][1]["name"], one.result["interfaces"][3]["name"]
    assert rate(host, port) == 1_000_000 and rate(host, ifb) == 500_000
    assert [answer.code for answer in one.check()] == [0, 0]
    server = attach(network)
    started = time.monotonic()
    assert received(server.container, one.container, server.address(), 300_000) == 300_000
    # 300000 bytes, of which 50000 pass at once: half a second at 500000 a second. Only the lower bound says anything.
    assert time.monotonic() - started > 0.4
    host.run(*f"tc qdisc change dev {port} root handle 1: tbf rate 1mbit burst 10kb latency 25ms".split())
    assert one.check()[1].code != 0
    one.delete()
    assert ifb not in host.links()


def rate(host: Namespace, name: str) -> int:
    """Bytes a second, of the token bucket at an interface."""
    [found] = [each for each in host.ip_of("tc", "qdisc", "show", "dev", name) if each["kind"] == "tbf"]
    return int(found["options"]["rate"])


def received(server: Namespace, client: Namespace, address: str, amount: int) -> int:
    import socket
    import threading

    with inside(server.descriptor):
        listener = socket.create_server((address, 80))
    with inside(client.descriptor):
        caller = socket.socket()
    got = 0

    def receive() -> None:
        nonlocal got
        peer, _ = listener.accept()
        with peer:
            while piece := peer.recv(1 << 16):
                got += len(piece)

    with listener, caller:
        listener.settimeout(10)
        thread = threading.Thread(target=receive)
        thread.start()
        caller.settimeout(10)
        caller.connect((address, 80))
        caller.sendall(bytes(amount))
        caller.close()
        thread.join()
    return got


@pytest.mark.clause("cni.bandwidth.limits", "cni.error.form")
def test_a_rate_without_a_burst_is_refused(plugins: Plugins, attach: Attach) -> None:
    one = attach()
    config: Config = {"cniVersion": "1.0.0", "name": "web", "type": "bandwidth", "ingressRate": 8000}
    answer = plugins.call("ADD", {**config, "prevResult": one.result}, containerid="c0", netns=one.netns, ifname="eth0")
    assert answer.code != 0 and "burst" in answer.said["msg"].lower()


@pytest.mark.clause("cni.host-device.moves", "cni.del.undo")
@pytest.mark.parametrize("by", ["device", "hwaddr"])
def test_host_device_lends_an_interface(
    plugins: Plugins, host: Namespace, make: Make, ipam: Config, leases: Leases, by: str
) -> None:
    host.run("ip", "link", "add", "spare0", "type", "veth", "peer", "name", "other0")
    host.run("ip", "link", "set", "other0", "up")
    mac = host.links()["spare0"]["address"]
    which = {"device": "spare0"} if by == "device" else {"hwaddr": mac}
    config: Config = {"cniVersion": "1.0.0", "name": "web", "type": "host-device", "ipam": ipam, **which}
    one = Attached(plugins, [config], make(), "c1")
    result = one.add()
    assert (result["interfaces"][0]["name"], result["interfaces"][0]["mac"]) == ("eth0", mac)
    assert one.container.addresses("eth0") == ["10.9.0.2/24", "fd09::2/64"] and "spare0" not in host.links()
    assert [answer.code for answer in one.check()] == [0]
    one.delete()
    assert set(one.container.links()) == {"lo"} and "spare0" in host.links() and leases() == []
    assert host.links()["spare0"]["address"] == mac


@pytest.mark.clause("cni.host-device.moves", "cni.error.form")
def test_host_device_needs_to_know_which(plugins: Plugins, make: Make) -> None:
    for which in ({}, {"device": "nowhere"}, {"hwaddr": "02:00:00:00:00:01"}):
        config: Config = {"cniVersion": "1.0.0", "name": "web", "type": "host-device", **which}
        answer = plugins.call("ADD", config, containerid="c1", netns=make().path, ifname="eth0")
        assert answer.code != 0 and answer.said["msg"]


@pytest.mark.clause("cni.virtual.made", "cni.check.at-once", "cni.del.undo")
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        pytest.param("macvlan", {"master": "below"}, marks=made_of("macvlan")),
        pytest.param("ipvlan", {"master": "below"}, marks=made_of("ipvlan")),
        pytest.param("dummy", {}, marks=made_of("dummy")),
    ],
    ids=["macvlan", "ipvlan", "dummy"],
)
def test_an_interface_of_its_kind_is_made(
    plugins: Plugins,
    host: Namespace,
    make: Make,
    ipam: Config,
    leases: Leases,
    kind: str,
    more: dict[str, Any],
) -> None:
    host.run("ip", "link", "add", "below", "type", "veth", "peer", "name", "beside")
    if not (plugins.path[0] / kind).exists():
        pytest.skip(f"this folder has no plugin {kind}")
    for name in ("below", "beside"):
        host.run("ip", "link", "set", name, "up")
    config: Config = {"cniVersion": "1.0.0", "name": "web", "type": kind, "ipam": ipam, **more}
    if kind == "dummy":
        config["ipam"] = {**ipam, "routes": []}
    one, two = (Attached(plugins, [config], make(), f"c{n}") for n in range(2))
    for attached in (one, two):
        attached.add()
        assert attached.container.links()["eth0"]["linkinfo"]["info_kind"] == kind
        assert [answer.code for answer in attached.check()] == [0]
    assert one.container.addresses("eth0") == ["10.9.0.2/24", "fd09::2/64"]
    if kind != "dummy":
        assert answers(two.container, one.container, two.address(), 80) == one.address()
    for attached in (one, two):
        attached.delete()
        attached.delete()
    assert set(one.container.links()) == {"lo"} and leases() == []


@pytest.mark.clause("cni.virtual.made", "cni.error.form")
@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_an_unknown_mode_or_master_is_refused(plugins: Plugins, host: Namespace, make: Make, kind: str) -> None:
    host.run("ip", "link", "add", "below", "type", "veth", "peer", "name", "beside")
    for more in ({"master": "below", "mode": "sideways"}, {"master": "nowhere"}):
        config: Config = {"cniVersion": "1.0.0", "name": "web", "type": kind, **more}
        answer = plugins.call("ADD", config, containerid="c1", netns=make().path, ifname="eth0")
        assert answer.code != 0 and answer.said["msg"]
