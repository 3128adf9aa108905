"""``ptp``: a cable from the host to each container, and routes instead of a switch.

::

    host                                                container
      veth3f0c...   10.1.0.1/32  (of every cable)         eth0  10.1.0.5/24
      10.1.0.5 dev veth3f0c...                            10.1.0.1 dev eth0; 10.1.0.0/24 via 10.1.0.1

The kernel would take the container's whole subnet to be on its cable, where only the host is. So the route that comes
with the address is replaced by two: the gateway is on the cable, and the subnet is behind the gateway.

``ipMasq``, ``mtu``, ``dns`` and ``ipam`` are as for ``bridge``. Source: plugins@3d27709 plugins/main/ptp.
"""

from __future__ import annotations

import contextlib
import ipaddress

from ...linux.links import Link, add_veth, delete_link, find, link, new_name, set_link
from ...linux.netlink import Netlink
from ...linux.routes import Address, add_address, add_route, delete_route
from ...linux.tell import step
from ..failure import INVALID_CONFIG, OTHER, PluginError
from ..result import Result
from . import ipam, masquerade, sandbox
from .skeleton import Plugin, Request, get


def add(request: Request) -> Result:
    """Cable, addresses, routes at both ends, rules."""
    if not ipam.kind(request):
        raise PluginError(INVALID_CONFIG, "ptp needs ipam: it has nothing but addresses and routes")
    with sandbox.opened(request) as namespace, Netlink() as host, Netlink(namespace) as inner:
        port, device = _cable(request, host, inner, namespace)
        try:
            result = ipam.empty(request, ipam.told(port), ipam.told(device, request.netns))
            ipam.fill(request, result, index=1)
            _route_all_over_the_gateway(namespace, inner, device, result)
            _face_container(host, port, result)
            if get(request.config, "ipMasq", bool, False):
                masquerade.add(request, sandbox.own_addresses(result, request.ifname))
        except BaseException:
            _undo(request, host, port)
            raise
    return result


def delete(request: Request) -> None:
    """Cable, addresses, rules; each whether or not the others are still there."""
    sandbox.remove_interface(request)
    ipam.pass_on(request)
    if get(request.config, "ipMasq", bool, False):
        masquerade.delete(request)


def check(request: Request) -> None:
    """Are addresses, routes and rules as the result of ADD says?"""
    result = request.needed_previous()
    ipam.pass_on(request)
    with sandbox.opened(request) as namespace, Netlink(namespace) as inner:
        device = sandbox.check_interface(inner, result, request.ifname, sandbox=True)
        sandbox.check_set_up(inner, device, result)
    if get(request.config, "ipMasq", bool, False):
        masquerade.check(request, sandbox.own_addresses(result, request.ifname))


def collect(request: Request) -> None:
    """Rules of nobody's, and addresses."""
    if get(request.config, "ipMasq", bool, False):
        masquerade.collect(request, request.valid)
    ipam.pass_on(request)


def _cable(request: Request, host: Netlink, inner: Netlink, namespace: int) -> tuple[Link, Link]:
    with step(f"a cable from the host to {request.ifname} in the container"):
        if find(inner, request.ifname) is not None:
            raise PluginError(OTHER, f"container veth name ({request.ifname}) already exists")
        name = new_name()
        add_veth(host, name, request.ifname, namespace, mtu=get(request.config, "mtu", int, 0))
        port = link(host, name)
        set_link(host, port, up=True)
        return port, link(inner, request.ifname)


def _route_all_over_the_gateway(namespace: int, inner: Netlink, device: Link, result: Result) -> None:
    routes, result["routes"] = result["routes"], []
    sandbox.set_up(namespace, inner, device.name, result)
    for address, gateway in _pairs(result):
        delete_route(inner, device, address.network)
        alone = ipaddress.ip_network(gateway.ip)
        add_route(inner, device, alone)
        add_route(inner, device, address.network, gateway.ip)
    result["routes"] = routes
    sandbox.add_routes(inner, device, result)


def _face_container(host: Netlink, port: Link, result: Result) -> None:
    with step(f"the host is the gateway at {port.name}"):
        for address, gateway in _pairs(result):
            sandbox.setting("ipv4/ip_forward" if gateway.version == 4 else "ipv6/conf/all/forwarding", "1")
            add_address(host, port, ipaddress.ip_interface(gateway.ip))
            add_route(host, port, ipaddress.ip_network(address.ip), replace=True)


def _pairs(result: Result) -> list[tuple[Address, Address]]:
    """Each address with its gateway; where IPAM names none, the first of the subnet."""
    pairs = []
    for each in result["ips"]:
        address = ipaddress.ip_interface(each["address"])
        each.setdefault("gateway", str(address.network[1]))
        pairs.append((address, ipaddress.ip_interface(each["gateway"])))
    return pairs


def _undo(request: Request, host: Netlink, port: Link) -> None:
    with contextlib.suppress(OSError):
        delete_link(host, port)
    ipam.undo(request)
    if get(request.config, "ipMasq", bool, False):
        with contextlib.suppress(PluginError):
            masquerade.delete(request)


PLUGIN = Plugin("ptp", add=add, delete=delete, check=check, collect=collect, status=ipam.pass_on)

if __name__ == "__main__":
    PLUGIN.main()
