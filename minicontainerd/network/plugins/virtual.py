"""What ``macvlan``, ``ipvlan`` and ``dummy`` share: an interface made straight in the container. Not a plugin itself.

Such an interface is one message to the kernel: its kind, the interface of the host below it, and the namespace where
it is to be. There is nothing on the host's side, so DEL is to remove one interface, and the end of the namespace
removes it too.
"""

from __future__ import annotations

import contextlib

from ...linux.links import Link, add_link, delete_link, find, link, links
from ...linux.netlink import Netlink
from ...linux.routes import routes
from ...linux.tell import step
from ..failure import INVALID_CONFIG, OTHER, PluginError
from ..result import Result
from . import ipam, sandbox
from .skeleton import Request, get


def add(request: Request, kind: str, *, parent: Link | None = None, data: bytes = b"", mac: str = "") -> Result:
    """Make the interface, give it addresses if there is IPAM, bring it up."""
    mtu = get(request.config, "mtu", int, 0)
    if parent is not None and not 0 <= mtu <= parent.mtu:
        raise PluginError(INVALID_CONFIG, f"invalid MTU {mtu}, must be [0, master MTU({parent.mtu})]")
    with sandbox.opened(request) as namespace, Netlink() as host, Netlink(namespace) as inner:
        with step(f"{request.ifname} of the kind {kind} in the container"):
            if find(inner, request.ifname) is not None:
                raise PluginError(OTHER, f"interface name {request.ifname} already exists in the container")
            index = parent.ifindex if parent else 0
            add_link(host, request.ifname, kind, parent=index, mtu=mtu, mac=mac, netns=namespace, data=data)
        device = link(inner, request.ifname)
        try:
            result = ipam.empty(request, ipam.told(device, request.netns))
            ipam.fill(request, result)
            sandbox.set_up(namespace, inner, request.ifname, result)
        except BaseException:
            with contextlib.suppress(OSError):
                delete_link(inner, device)
            ipam.undo(request)
            raise
    return result


def delete(request: Request) -> None:
    """Remove the interface, and give its addresses back."""
    sandbox.remove_interface(request)
    ipam.pass_on(request)


def check(request: Request, kind: str) -> None:
    """Is it there, of its kind, with its addresses and routes?"""
    result = request.needed_previous()
    ipam.pass_on(request)
    with sandbox.opened(request) as namespace, Netlink(namespace) as inner:
        device = sandbox.check_interface(inner, result, request.ifname, sandbox=True)
        if device.kind != kind:
            raise PluginError(OTHER, f"interface {device.name} is of the kind {device.kind}, not {kind}")
        sandbox.check_set_up(inner, device, result)


def master(request: Request) -> Link:
    """The interface of the host below it: the one that is named, or the one that the default route uses.

    Raises:
        PluginError: there is none.
    """
    name = get(request.config, "master", str, "")
    with Netlink() as host:
        if name:
            return sandbox.needed(host, name)
        for version in (4, 6):
            for route in routes(host, version):
                if route.dst.prefixlen == 0:
                    return next(each for each in links(host) if each.ifindex == route.ifindex)
    raise PluginError(INVALID_CONFIG, "master is not given, and there is no default route to take it from")
