"""``bridge``: a switch on the host, and for each container a cable with one end in the switch and one in the container.

::

    host ─────────────────────────────┐         container ────────────┐
      bridge cni0   10.1.0.1/16       │           eth0  10.1.0.5/16   │
        ├── veth3f0c... ──────────────┼─────────▶   default via       │
        └── veth91ab... ────▶ another │             10.1.0.1          │

    "bridge": "cni0"        the switch; made if it is not there, and left there, as nobody knows who else uses it
    "isGateway": true       the switch gets the gateway's address, and the host forwards
    "isDefaultGateway"      and the container's default route leads there
    "ipMasq": true          what leaves the network gets the host's address (masquerade)
    "hairpinMode"           a frame may go back to the port it came from;   "promiscMode": the switch takes all
    "portIsolation"         this port and other isolated ones do not hear each other
    "vlan": 5               the cable carries the frames of one VLAN
    "mtu", "forceAddress", "enabledad", "disableContainerInterface", "ipam", "dns"; runtimeConfig or args: "mac"

Both ends of the cable are made by one message to the kernel, the container's end in its namespace with its final name.
So there is no moment in which half of it exists, and removing either end, or the namespace, removes both. The rest of
what ADD does is addresses of IPAM and rules of masquerade, which their owners find again by container and interface.

Source: plugins@3d27709 plugins/main/bridge.
"""

from __future__ import annotations

import contextlib
import ipaddress
import time
from typing import Any, NamedTuple

from ...linux.ifname import check_ifname
from ...linux.links import (
    IFF,
    Link,
    add_link,
    add_veth,
    delete_link,
    filter_vlans,
    find,
    link,
    links,
    new_name,
    set_bridge_port,
    set_bridge_vlan,
    set_link,
)
from ...linux.netlink import Netlink
from ...linux.routes import Address, add_address, addresses, delete_address
from ...linux.tell import step
from ..failure import INVALID_CONFIG, OTHER, PluginError
from ..result import Result
from ..versions import NEWEST
from . import masquerade, sandbox
from .skeleton import Plugin, Request, delegate, get

_SECONDS_UNTIL_UP = 3.0


class Settings(NamedTuple):
    """The configuration, with what follows from it."""

    bridge: str
    is_gateway: bool
    is_default: bool
    force_address: bool
    ip_masq: bool
    hairpin: bool
    promisc: bool
    isolated: bool
    detect_duplicates: bool
    bare: bool
    mtu: int
    vlan: int
    keep_default_vlan: bool
    mac: str
    ipam: str
    dns: dict[str, Any]


def add(request: Request) -> Result:
    """Switch, cable, addresses, routes, rules. Whatever fails, cable and addresses are given back.

    Raises:
        PluginError: the container has an interface of this name; IPAM failed; the switch has another address.
    """
    settings = _settings(request)
    with sandbox.opened(request) as namespace, Netlink() as host, Netlink(namespace) as inner:
        switch = _ensure_bridge(host, settings)
        port = _plug_in(host, inner, namespace, switch, settings, request)
        try:
            result = _first_result(request, settings, switch, port, sandbox.needed(inner, request.ifname))
            if settings.ipam:
                _with_addresses(request, settings, result)
                sandbox.set_up(namespace, inner, request.ifname, result, detect_duplicates=settings.detect_duplicates)
                if settings.is_gateway:
                    _be_gateway(host, switch, settings, result)
                if settings.ip_masq:
                    masquerade.add(request, [ipaddress.ip_interface(each["address"]) for each in result["ips"]])
            elif not settings.bare:
                set_link(inner, sandbox.needed(inner, request.ifname), up=True)
            if not settings.bare:
                _wait_until_up(host, port.name)
            _look_again(host, result)
        except BaseException:
            _undo(request, settings, host, port)
            raise
    return result


def delete(request: Request) -> None:
    """Cable, addresses, rules; each whether or not the others are still there."""
    settings = _settings(request)
    with sandbox.opened_if_there(request) as namespace:
        if namespace is not None:
            with Netlink(namespace) as inner, step(f"unplug {request.ifname}"):
                device = find(inner, request.ifname)
                if device is not None:
                    delete_link(inner, device)
    if settings.ipam:
        delegate(request, settings.ipam)
    if settings.ip_masq:
        masquerade.delete(request)


def check(request: Request) -> None:
    """Are switch, cable, addresses, routes and rules as the result of ADD says?"""
    settings, result = _settings(request), request.needed_previous()
    if settings.ipam:
        delegate(request, settings.ipam)
    with sandbox.opened(request) as namespace, Netlink() as host, Netlink(namespace) as inner:
        switch = sandbox.check_interface(host, result, settings.bridge, sandbox=False)
        if switch.kind != "bridge":
            raise PluginError(OTHER, f"interface {switch.name} is of the kind {switch.kind}, not a bridge")
        device = sandbox.check_interface(inner, result, request.ifname, sandbox=True)
        # An index is unique within a namespace only: the port is the one of the switch's that has us as its peer.
        ports = [each for each in links(host) if each.ifindex == device.parent and each.master == switch.ifindex]
        if not ports or (not settings.bare and not ports[0].is_up):
            raise PluginError(OTHER, f"interface {device.name} is not plugged into {switch.name}")
        sandbox.check_set_up(inner, device, result)
        if settings.ip_masq:
            masquerade.check(request, sandbox.own_addresses(result, request.ifname))


def collect(request: Request) -> None:
    """Rules of nobody's; IPAM sees to its addresses. Cables have gone with their namespaces."""
    settings = _settings(request)
    if settings.ip_masq:
        masquerade.collect(request, request.valid)
    if settings.ipam:
        delegate(request, settings.ipam)


def status(request: Request) -> None:
    """Ready if IPAM is."""
    settings = _settings(request)
    if settings.ipam:
        delegate(request, settings.ipam)


def _ensure_bridge(host: Netlink, settings: Settings) -> Link:
    """The switch, up. Two containers may come at once: whoever is second finds it."""
    with step(f"the switch {settings.bridge}"):
        switch = find(host, settings.bridge)
        if switch is None:
            with contextlib.suppress(FileExistsError):
                add_link(host, settings.bridge, "bridge", mtu=settings.mtu)
            switch = link(host, settings.bridge)
            sandbox.setting(f"ipv6/conf/{settings.bridge}/accept_ra", "0", must=False)  # it is a router, not a host
        if switch.kind != "bridge":
            raise PluginError(OTHER, f"{settings.bridge} exists and is not a bridge, but {switch.kind or 'hardware'}")
        if settings.vlan:
            filter_vlans(host, switch)
        wanted = IFF.UP | (IFF.PROMISC if settings.promisc else IFF.UP)
        if switch.flags & wanted != wanted:
            set_link(host, switch, up=True, promisc=True if settings.promisc else None)
    return switch


def _plug_in(host: Netlink, inner: Netlink, namespace: int, switch: Link, settings: Settings, request: Request) -> Link:
    """The cable; gives its end on the host."""
    with step(f"a cable from {switch.name} to {request.ifname} in the container"):
        if find(inner, request.ifname) is not None:
            raise PluginError(OTHER, f"container veth name ({request.ifname}) already exists")
        name = new_name()
        # Without a size of its own the cable would take the smallest there is in the switch, and so would all.
        add_veth(host, name, request.ifname, namespace, mtu=settings.mtu, peer_mac=settings.mac)
        port = link(host, name)
        set_link(host, port, up=True, master=switch)
        if settings.hairpin or settings.isolated:
            set_bridge_port(host, port, hairpin=settings.hairpin, isolated=settings.isolated)
        if settings.vlan:
            if not settings.keep_default_vlan:
                with contextlib.suppress(OSError):
                    set_bridge_vlan(host, port, 1, add=False)
            set_bridge_vlan(host, port, settings.vlan, pvid=True, untagged=True)
    return port


def _first_result(request: Request, settings: Settings, switch: Link, port: Link, device: Link) -> Result:
    mine = {"name": device.name, "mac": device.mac, "mtu": device.mtu, "sandbox": request.netns}
    return {
        "cniVersion": NEWEST,
        "interfaces": [
            {"name": switch.name, "mac": switch.mac, "mtu": switch.mtu},
            {"name": port.name, "mac": port.mac, "mtu": port.mtu},
            mine,
        ],
        "ips": [],
        "routes": [],
        "dns": settings.dns,
    }


def _with_addresses(request: Request, settings: Settings, result: Result) -> None:
    """What IPAM gives, made this interface's; the gateways are worked out where it left them open."""
    given = delegate(request, settings.ipam) or {}
    if not given.get("ips"):
        raise PluginError(OTHER, "IPAM plugin returned missing IP config")
    result |= {"ips": given["ips"], "routes": given["routes"], "dns": settings.dns or given["dns"]}
    defaults = {route["dst"] for route in result["routes"]}
    for each in result["ips"]:
        each["interface"] = 2
        address = ipaddress.ip_interface(each["address"])
        if settings.is_gateway and not each.get("gateway"):
            each["gateway"] = str(address.network[1])
        everything = str(sandbox.DEFAULT[address.version])
        if settings.is_default and everything not in defaults:
            result["routes"].append({"dst": everything, "gw": each["gateway"]})
            defaults.add(everything)


def _be_gateway(host: Netlink, switch: Link, settings: Settings, result: Result) -> None:
    with step(f"{switch.name} is the gateway"):
        for each in result["ips"]:
            length = ipaddress.ip_interface(each["address"]).network.prefixlen
            gateway = ipaddress.ip_interface(f"{each['gateway']}/{length}")
            _ensure_address(host, switch, gateway, settings)
            sandbox.setting("ipv4/ip_forward" if gateway.version == 4 else "ipv6/conf/all/forwarding", "1")


def _ensure_address(host: Netlink, switch: Link, wanted: Address, settings: Settings) -> None:
    there = addresses(host, switch)
    if wanted in there:
        return
    for other in there:
        overlaps = other.version == wanted.version and other.network.overlaps(wanted.network)
        if other.version == wanted.version and (wanted.version == 4 or overlaps):
            if not settings.force_address:
                raise PluginError(OTHER, f"{switch.name!r} already has an IP address different from {wanted}")
            delete_address(host, switch, other)
    with contextlib.suppress(FileExistsError):  # another container's ADD was there first
        add_address(host, switch, wanted)
        # Said to be its own, the hardware address stays; else a switch takes the smallest of its ports', which come
        # and go, and every container would have to ask for the gateway again.
        set_link(host, switch, mac=link(host, switch.ifindex).mac)


def _wait_until_up(host: Netlink, name: str) -> None:
    """A port begins to work a moment after both its ends are up."""
    deadline = time.monotonic() + _SECONDS_UNTIL_UP
    pause = 0.0005
    while not link(host, name).is_up:
        if time.monotonic() > deadline:
            raise PluginError(OTHER, f"the port {name} of the switch does not come up")
        time.sleep(pause)
        pause *= 2


def _look_again(host: Netlink, result: Result) -> None:
    """Hardware addresses may have changed while the interfaces were set up."""
    for each in result["interfaces"][:2]:
        each["mac"] = link(host, each["name"]).mac


def _undo(request: Request, settings: Settings, host: Netlink, port: Link) -> None:
    with contextlib.suppress(OSError):
        delete_link(host, port)
    if settings.ipam:
        with contextlib.suppress(PluginError, OSError):
            delegate(request, settings.ipam, command="DEL")
    if settings.ip_masq:
        with contextlib.suppress(PluginError, OSError):
            masquerade.delete(request)


def _settings(request: Request) -> Settings:
    config = request.config
    cni = get(get(config, "args", dict, {}), "cni", dict, {})
    settings = Settings(
        bridge=get(config, "bridge", str, "") or "cni0",
        is_gateway=get(config, "isGateway", bool, False) or get(config, "isDefaultGateway", bool, False),
        is_default=get(config, "isDefaultGateway", bool, False),
        force_address=get(config, "forceAddress", bool, False),
        ip_masq=get(config, "ipMasq", bool, False),
        hairpin=get(config, "hairpinMode", bool, False),
        promisc=get(config, "promiscMode", bool, False),
        isolated=get(config, "portIsolation", bool, False),
        detect_duplicates=get(config, "enabledad", bool, False),
        bare=get(config, "disableContainerInterface", bool, False),
        mtu=get(config, "mtu", int, 0),
        vlan=get(config, "vlan", int, 0),
        keep_default_vlan=get(config, "preserveDefaultVlan", bool, False),
        mac=request.runtime.get("mac") or cni.get("mac") or request.args.get("MAC", ""),
        ipam=str(get(config, "ipam", dict, {}).get("type") or ""),
        dns=get(config, "dns", dict, {}),
    )
    check_ifname(settings.bridge)
    if not 0 <= settings.vlan <= 4094:
        raise PluginError(INVALID_CONFIG, f"invalid VLAN ID {settings.vlan} (must be between 0 and 4094)")
    if settings.hairpin and settings.promisc:
        raise PluginError(INVALID_CONFIG, "cannot set hairpin mode and promiscuous mode at the same time")
    if settings.bare and settings.ipam:
        raise PluginError(INVALID_CONFIG, "cannot use IPAM when disableContainerInterface flag is set")
    if settings.vlan and settings.is_gateway:
        # The gateway would have to be an interface of the VLAN on top of the switch.
        raise PluginError(INVALID_CONFIG, f"vlan {settings.vlan} together with isGateway is not built here")
    return settings


PLUGIN = Plugin("bridge", add=add, delete=delete, check=check, collect=collect, status=status)

if __name__ == "__main__":
    PLUGIN.main()
