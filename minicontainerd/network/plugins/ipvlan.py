"""``ipvlan``: one more IP address on an interface of the host, under the host's own hardware address.

For networks that allow one hardware address a port. ``"mode"`` is ``l2`` (the container is on the wire), ``l3`` (the
host routes for it) or ``l3s`` (and its filters see it). In a chain, without a ``master``, the first interface of the
result before is the one below. Source: plugins@3d27709 plugins/main/ipvlan.
"""

from __future__ import annotations

import struct

from ...linux.links import Link
from ...linux.netlink import Netlink, raw
from ..failure import INVALID_CONFIG, PluginError
from ..result import Result
from . import ipam, sandbox, virtual
from .skeleton import Plugin, Request, get

_MODE = 1  # IFLA_IPVLAN_MODE
MODES = {"l2": 0, "l3": 1, "l3s": 2}


def add(request: Request) -> Result:
    """Make it in the container."""
    mode = get(request.config, "mode", str, "") or "l2"
    if mode not in MODES:
        raise PluginError(INVALID_CONFIG, f"unknown ipvlan mode {mode!r}: it is one of {', '.join(MODES)}")
    return virtual.add(request, "ipvlan", parent=_master(request), data=raw(_MODE, struct.pack("=H", MODES[mode])))


def check(request: Request) -> None:
    """Is it as it was made?"""
    virtual.check(request, "ipvlan")


def _master(request: Request) -> Link:
    if get(request.config, "master", str, "") or request.previous is None:
        return virtual.master(request)
    for each in request.previous["interfaces"]:
        if not each.get("sandbox"):
            with Netlink() as host:
                return sandbox.needed(host, each["name"])
    raise PluginError(INVALID_CONFIG, "the result before has no interface on the host to be the master")


PLUGIN = Plugin("ipvlan", add=add, delete=virtual.delete, check=check, collect=ipam.pass_on, status=ipam.pass_on)

if __name__ == "__main__":
    PLUGIN.main()
