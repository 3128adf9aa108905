"""Interfaces, addresses, routes and limits made by our messages, as ``ip`` and ``tc`` see them."""

from __future__ import annotations

import errno
import ipaddress
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.networks import Namespace, namespaces
from minicontainerd.linux import links, routes, traffic
from minicontainerd.linux.namespaces import inside
from minicontainerd.linux.netlink import Netlink
from minicontainerd.linux.tell import Story, telling

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@pytest.fixture
def make() -> Iterator[Callable[[], Namespace]]:
    with namespaces() as make:
        yield make


def test_a_cable_into_another_namespace(make: Callable[[], Namespace]) -> None:
    here, there = make(), make()
    with Netlink(here.descriptor) as net, Netlink(there.descriptor) as inner:
        links.add_link(net, "br0", "bridge")
        links.add_veth(net, "v0", "eth0", there.descriptor, mtu=1400, peer_mac="02:00:00:00:00:01")
        bridge, port, device = links.link(net, "br0"), links.link(net, "v0"), links.link(inner, "eth0")
        links.set_link(net, port, up=True, master=bridge)
        links.set_bridge_port(net, port, hairpin=True, isolated=True)
        links.set_link(inner, device, up=True, promisc=True, queue=77)
        assert (device.mac, device.mtu, device.kind) == ("02:00:00:00:00:01", 1400, "veth")
        assert links.link(net, bridge.ifindex) == links.link(net, "br0")
        assert {each.name for each in links.links(inner)} == {"lo", "eth0"}
    seen = here.links()["v0"]
    assert seen["master"] == "br0" and seen["linkinfo"]["info_slave_data"]["hairpin"] is True
    assert seen["linkinfo"]["info_slave_data"]["isolated"] is True
    assert "PROMISC" in there.links()["eth0"]["flags"] and there.links()["eth0"]["txqlen"] == 77


def test_addresses_and_routes(make: Callable[[], Namespace]) -> None:
    here, there = make(), make()
    with Netlink(here.descriptor) as net:
        links.add_veth(net, "v0", "eth0", there.descriptor)
        device = links.link(net, "v0")
        links.set_link(net, device, up=True)
        wanted = [ipaddress.ip_interface("10.1.0.5/16"), ipaddress.ip_interface("fd01::5/64")]
        for address in wanted:
            routes.add_address(net, device, address)
        assert routes.addresses(net, device) == wanted
        far, gateway = ipaddress.ip_network("10.2.0.0/16"), ipaddress.ip_address("10.1.0.1")
        routes.add_route(net, device, far, gateway, priority=7, mtu=1300, advmss=1200)
        [found] = [route for route in routes.routes(net, 4) if route.dst == far]
        assert (found.gateway, found.priority, found.mtu, found.advmss) == (gateway, 7, 1300, 1200)
        [seen] = [route for route in here.ip("route") if route["dst"] == "10.2.0.0/16"]
        assert (seen["gateway"], seen["metric"], seen["metrics"][0]["mtu"]) == ("10.1.0.1", 7, 1300)
        routes.delete_address(net, device, wanted[0])
        assert routes.addresses(net, device) == wanted[1:]


def test_an_interface_moves_and_is_renamed_at_once(make: Callable[[], Namespace]) -> None:
    here, there = make(), make()
    with Netlink(here.descriptor) as net, Netlink(there.descriptor) as inner:
        links.add_veth(net, "v0", "v1", here.descriptor)
        links.set_link(net, links.link(net, "v0"), name="eth0", alias="v0", netns=there.descriptor)
        assert links.find(net, "v0") is None and links.link(inner, "eth0").alias == "v0"
        links.delete_link(net, links.link(net, "v1"))
        assert links.find(inner, "eth0") is None


def test_limits(make: Callable[[], Namespace]) -> None:
    here = make()
    with Netlink(here.descriptor) as net:
        links.add_veth(net, "v0", "v1", here.descriptor)
        device, other = links.link(net, "v0"), links.link(net, "v1")
        traffic.limit_sending(net, device, 1_000_000, 50_000)
        traffic.redirect_arrivals(net, device, other)
        kinds = {each.kind: each.rate for each in traffic.disciplines(net, device)}
        assert kinds["tbf"] == 1_000_000 and "ingress" in kinds
    assert "v1" in json.dumps(here.ip_of("tc", "filter", "show", "dev", "v0", "ingress"))


def test_the_kernel_says_why_not(make: Callable[[], Namespace]) -> None:
    here = make()
    with Netlink(here.descriptor) as net:
        with pytest.raises(OSError) as caught:
            links.link(net, "nowhere")
        assert caught.value.errno == errno.ENODEV
        with pytest.raises(OSError, match="Unknown device type"):
            links.add_link(net, "x", "nonsense")
        links.add_link(net, "br0", "bridge")
        with pytest.raises(FileExistsError):
            links.add_link(net, "br0", "bridge")
        with pytest.raises(OSError) as caught:
            routes.add_route(
                net, links.link(net, "br0"), ipaddress.ip_network("9.0.0.0/8"), ipaddress.ip_address("8.8.8.8")
            )
        assert caught.value.errno in (errno.ENETUNREACH, errno.ENETDOWN)


def test_each_verb_is_told_with_its_command(make: Callable[[], Namespace], tmp_path: Path) -> None:
    here = make()
    there = make()
    with open(tmp_path / "story", "ab") as story, inside(here.descriptor), Netlink() as net:
        with telling(Story(story.fileno())):
            links.add_link(net, "br0", "bridge")
            device = links.link(net, "br0")
            links.set_link(net, device, up=True)
            routes.add_address(net, device, ipaddress.ip_interface("10.1.0.1/16"))
            links.add_veth(net, "v0", "eth0", there.descriptor)
            links.set_link(net, links.link(net, "v0"), up=True, master=device, mtu=1400)
            with Netlink(there.descriptor) as inner:
                links.set_link(inner, links.link(inner, "eth0"), mac="02:00:00:00:00:07", promisc=True)
    told = [
        entry["by_hand"]
        for entry in map(json.loads, (tmp_path / "story").read_text().splitlines())
        if "by_hand" in entry
    ]
    assert told == [
        "ip link add name br0 type bridge",
        "ip link set dev br0 up",
        "ip address add 10.1.0.1/16 dev br0",
        "ip link add v0 type veth peer name eth0 netns CONTAINER",
        "ip link set dev v0 mtu 1400 master br0 up",
        "ip -n CONTAINER link set dev eth0 address 02:00:00:00:00:07 promisc on",
    ]
    again = make()
    for command in told[:4]:
        again.run(*command.replace("CONTAINER", make().path).split())  # and they do what they say
    assert again.addresses("br0") == ["10.1.0.1/16"]
