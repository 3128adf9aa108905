"""``host-device``: an interface of the host, given away to one container, and taken back by DEL.

It is found by its name (``device``), its hardware address (``hwaddr``), its place in /sys (``kernelpath``) or on the
PCI bus (``pciBusID``, or ``runtimeConfig.deviceID``). Moving and renaming is one message to the kernel, so the
interface always has one of its two names. The old name is kept in its *alias*, which moves with it: so even when nobody
knows any more, it can be asked for its name at home. If the namespace ends first, the kernel moves hardware back.

Source: plugins@3d27709 plugins/main/host-device.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ...linux.ifname import check_ifname
from ...linux.links import IFF, Link, find, link, links, set_link
from ...linux.netlink import Netlink
from ...linux.tell import step
from ..failure import INVALID_CONFIG, OTHER, PluginError
from ..result import Result
from . import ipam, sandbox
from .skeleton import Plugin, Request, get


def add(request: Request) -> Result:
    """Move it in, under the name that was asked for, and give it addresses if there is IPAM."""
    with sandbox.opened(request) as namespace, Netlink() as host, Netlink(namespace) as inner:
        device = _wanted(request, host)
        if find(inner, request.ifname) is not None:
            raise PluginError(OTHER, f"interface name {request.ifname} already exists in the container")
        with step(f"{device.name} moves into the container and is called {request.ifname}"):
            set_link(host, device, name=request.ifname, alias=device.name, netns=namespace)
        moved = link(inner, request.ifname)
        try:
            result = ipam.empty(request, ipam.told(moved, request.netns))
            ipam.fill(request, result)
            sandbox.set_up(namespace, inner, request.ifname, result)
        except BaseException:
            with contextlib.suppress(OSError):
                _move_back(inner, moved, device)
            ipam.undo(request)
            raise
    return result


def delete(request: Request) -> None:
    """Take it back, under its old name."""
    with sandbox.opened_if_there(request) as namespace:
        if namespace is not None:
            with Netlink(namespace) as inner:
                device = find(inner, request.ifname)
                if device is not None and device.alias:  # one without was never ours
                    _move_back(inner, device, None)
    ipam.pass_on(request)


def check(request: Request) -> None:
    """Is it there, with its addresses and routes?"""
    result = request.needed_previous()
    ipam.pass_on(request)
    with sandbox.opened(request) as namespace, Netlink(namespace) as inner:
        device = sandbox.check_interface(inner, result, request.ifname, sandbox=True)
        sandbox.check_set_up(inner, device, result)


def _move_back(inner: Netlink, device: Link, before: Link | None) -> None:
    """Home is where we are called from; it comes back down, as the kernel leaves what it moves, unless it was up."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        name = before.name if before is not None else device.alias
        check_ifname(name)
        with step(f"{device.name} moves back and is called {name}"):
            set_link(inner, device, name=name, alias="", netns=home)
    finally:
        os.close(home)
    if before is not None and before.flags & IFF.UP:
        with Netlink() as host:
            set_link(host, link(host, name), up=True)


def _wanted(request: Request, host: Netlink) -> Link:
    config = request.config
    pci = request.runtime.get("deviceID") or get(config, "pciBusID", str, "")
    for folder in [get(config, "kernelpath", str, ""), f"/sys/bus/pci/devices/{os.path.basename(pci)}" if pci else ""]:
        if folder:
            names = sorted(os.listdir(Path(folder, "net"))) if Path(folder, "net").is_dir() else []
            if not names:
                raise PluginError(OTHER, f"there is no network interface at {folder}")
            return sandbox.needed(host, names[0])
    name, mac = get(config, "device", str, ""), get(config, "hwaddr", str, "").lower()
    if name:
        return sandbox.needed(host, name)
    if mac:
        for each in links(host):
            if each.mac == mac:
                return each
        raise PluginError(OTHER, f"there is no interface with the hardware address {mac}")
    raise PluginError(INVALID_CONFIG, 'specify either "device", "hwaddr", "kernelpath" or "pciBusID"')


PLUGIN = Plugin("host-device", add=add, delete=delete, check=check, collect=ipam.pass_on, status=ipam.pass_on)

if __name__ == "__main__":
    PLUGIN.main()
