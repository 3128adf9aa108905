"""The container's side: its network namespace, and an interface in it made ready.

A namespace is named by a path, ``/run/netns/blue`` or ``/proc/42/ns/net``. It is opened once, looked at (is it a
network namespace? not our own?), and used by its descriptor. On DEL it may be gone, with every interface in it, and
that is no error.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
from collections.abc import Iterator

from ...linux.kernel_file import write_setting
from ...linux.links import Link, delete_link, find, set_link
from ...linux.namespaces import CLONE, inside
from ...linux.netlink import Netlink
from ...linux.routes import IP, UNIVERSE, Address, Prefix, add_address, add_route, addresses, routes
from ...linux.tell import step
from ..failure import INVALID_ENVIRONMENT, OTHER, PluginError
from ..result import Result
from .skeleton import Request

_NS_GET_NSTYPE = 0xB703  # _IO(NSIO, 3), linux/nsfs.h
DEFAULT = {4: ipaddress.ip_network("0.0.0.0/0"), 6: ipaddress.ip_network("::/0")}


@contextlib.contextmanager
def opened(request: Request) -> Iterator[int]:
    """The container's network namespace, as a descriptor.

    Raises:
        PluginError: it is not there, is something else, or is our own.
    """
    try:
        descriptor = _open(request)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise PluginError(INVALID_ENVIRONMENT, f"CNI_NETNS {request.netns}: there is no such namespace") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened_if_there(request: Request) -> Iterator[int | None]:
    """The same for DEL: None if it was not named, or is gone. A path that is a file again is what an unmounted
    ``ip netns`` leaves behind."""
    descriptor = None
    if request.netns:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, NotADirectoryError):
            try:
                descriptor = _open(request)
            except PluginError as error:
                if "not a network namespace" not in error.msg:
                    raise
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_interface(request: Request) -> None:
    """Delete the container's interface; with it goes the other end of a cable. What is not there is no error."""
    with opened_if_there(request) as namespace:
        if namespace is not None:
            with Netlink(namespace) as inner:
                device = find(inner, request.ifname)
                if device is not None:
                    delete_link(inner, device)


def _open(request: Request) -> int:
    descriptor = os.open(request.netns, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        try:
            kind = fcntl.ioctl(descriptor, _NS_GET_NSTYPE)
        except OSError:
            kind = 0
        if kind != CLONE.NEWNET:
            raise PluginError(INVALID_ENVIRONMENT, f"CNI_NETNS {request.netns} is not a network namespace")
        own = os.stat("/proc/thread-self/ns/net")
        if os.path.samestat(os.fstat(descriptor), own) and not request.environment.get("CNI_NETNS_OVERRIDE"):
            raise PluginError(INVALID_ENVIRONMENT, f"CNI_NETNS {request.netns} is the host's own network namespace")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def needed(net: Netlink, name: str) -> Link:
    """The interface *name*, which must be there.

    Raises:
        PluginError: it is not.
    """
    device = find(net, name)
    if device is None:
        raise PluginError(OTHER, f"there is no interface {name}")
    return device


def setting(name: str, value: str, *, must: bool = True) -> None:
    """Write a file below /proc/sys/net, of the namespace that the calling thread is in. Without *must*, the kernel
    may lack it: one without IPv6 has no such settings."""
    try:
        write_setting(f"/proc/sys/net/{name}", value)
    except OSError:
        if must:
            raise


def set_up(namespace: int, net: Netlink, name: str, result: Result, *, detect_duplicates: bool = False) -> None:
    """Give the interface *name* the addresses and routes of *result* that are for it, and bring it up."""
    with step(f"addresses and routes of {name} in the container"):
        with inside(namespace):
            setting(f"ipv6/conf/{name}/accept_dad", "1" if detect_duplicates else "0", must=False)
            setting(f"ipv4/conf/{name}/arp_notify", "1", must=False)
            mine = _addresses(result, name)
            if any(address.version == 6 for address in mine):
                setting(f"ipv6/conf/{name}/disable_ipv6", "0", must=False)
        device = needed(net, name)
        for address in mine:
            add_address(net, device, address, detect_duplicates=detect_duplicates)
        set_link(net, device, up=True)
        add_routes(net, device, result)


def check_set_up(net: Netlink, device: Link, result: Result) -> None:
    """Whether the interface still has what *result* says.

    Raises:
        PluginError: an address or a route is missing.
    """
    there = addresses(net, device, everywhere=True)
    for address in _addresses(result, device.name):
        if address not in there:
            raise PluginError(OTHER, f"interface {device.name} has lost its address {address}")
    known = {route.dst for version in (4, 6) for route in routes(net, version)}
    for each in result["routes"]:
        dst = ipaddress.ip_network(each["dst"], strict=False)
        if dst not in known:
            raise PluginError(OTHER, f"the route to {dst} is missing in the container")


def check_interface(net: Netlink, result: Result, name: str, *, sandbox: bool) -> Link:
    """The interface *name*, which must be there with the hardware address that *result* says.

    Raises:
        PluginError: it is not.
    """
    device = needed(net, name)
    for each in result["interfaces"]:
        if each["name"] == name and bool(each.get("sandbox")) == sandbox and each.get("mac", device.mac) != device.mac:
            raise PluginError(OTHER, f"interface {name} has the hardware address {device.mac}, not {each['mac']}")
    return device


def own_addresses(result: Result, name: str) -> list[Address]:
    """The addresses of the container on interface *name*, as a plugin further down the chain finds them."""
    return _addresses(result, name)


def _addresses(result: Result, name: str) -> list[Address]:
    found = []
    for each in result["ips"]:
        index = each.get("interface")
        if index is not None and result["interfaces"]:
            interface = result["interfaces"][index]
            if interface["name"] != name or not interface.get("sandbox"):
                continue
        found.append(ipaddress.ip_interface(each["address"]))
    return found


def add_routes(net: Netlink, device: Link, result: Result) -> None:
    """Add the routes of *result*; one without a gateway goes over that of its family's address."""
    gateways: dict[int, IP] = {}
    for each in result["ips"]:
        if each.get("gateway"):
            gateway = ipaddress.ip_address(each["gateway"])
            gateways.setdefault(gateway.version, gateway)
    for each in result["routes"]:
        dst: Prefix = ipaddress.ip_network(each["dst"], strict=False)
        via = ipaddress.ip_address(each["gw"]) if each.get("gw") else gateways.get(dst.version)
        scope = each.get("scope", UNIVERSE)
        add_route(
            net,
            device,
            dst,
            via if scope == UNIVERSE else None,
            priority=each.get("priority", 0),
            scope=scope if via is None or scope != UNIVERSE else None,
            mtu=each.get("mtu", 0),
            advmss=each.get("advmss", 0),
            **({"table": each["table"]} if each.get("table") else {}),
        )
