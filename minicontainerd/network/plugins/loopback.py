"""``loopback``: bring ``lo`` up. A new network namespace has it, but down, and then not even 127.0.0.1 answers.

The interface that was asked for does not matter, there is only one. Source: plugins@3d27709 plugins/main/loopback.
"""

from __future__ import annotations

from ...linux.links import IFF, set_link
from ...linux.netlink import Netlink
from ...linux.routes import addresses
from ..failure import OTHER, PluginError
from ..result import Result
from ..versions import NEWEST
from . import sandbox
from .skeleton import Plugin, Request


def add(request: Request) -> Result:
    """Up; the kernel gives it its addresses by itself."""
    with sandbox.opened(request) as namespace, Netlink(namespace) as net:
        device = sandbox.needed(net, "lo")
        set_link(net, device, up=True)
        found = addresses(net, device, everywhere=True)
    if request.previous is not None:
        return request.previous
    strange = [address for address in found if not address.ip.is_loopback]
    if strange:
        raise PluginError(OTHER, f"lo has an address that is not of the loopback kind: {strange[0]}")
    return {
        "cniVersion": NEWEST,
        "interfaces": [{"name": "lo", "mac": device.mac, "sandbox": request.netns}],
        "ips": [{"address": str(address), "interface": 0} for address in found],
        "routes": [],
        "dns": {},
    }


def delete(request: Request) -> None:
    """Down."""
    with sandbox.opened_if_there(request) as namespace:
        if namespace is not None:
            with Netlink(namespace) as net:
                set_link(net, sandbox.needed(net, "lo"), up=False)


def check(request: Request) -> None:
    """Is it up?"""
    with sandbox.opened(request) as namespace, Netlink(namespace) as net:
        if not sandbox.needed(net, "lo").flags & IFF.UP:
            raise PluginError(OTHER, "lo is down")


PLUGIN = Plugin("loopback", add=add, delete=delete, check=check)

if __name__ == "__main__":
    PLUGIN.main()
