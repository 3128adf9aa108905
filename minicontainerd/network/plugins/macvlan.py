"""``macvlan``: one more hardware address on an interface of the host. On the wire it is one more machine.

``"master"`` is the interface below; ``"mode"`` how containers on it hear each other: ``bridge`` (they do), ``private``
(they do not), ``vepa`` (by way of the switch outside), ``passthru`` (there is only one). The host itself cannot be
reached over its own interface. Source: plugins@3d27709 plugins/main/macvlan.
"""

from __future__ import annotations

from ...linux.netlink import number
from ..failure import INVALID_CONFIG, PluginError
from ..result import Result
from . import ipam, virtual
from .skeleton import Plugin, Request, get

_MODE = 1  # IFLA_MACVLAN_MODE
MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}


def add(request: Request) -> Result:
    """Make it in the container."""
    mode = get(request.config, "mode", str, "") or "bridge"
    if mode not in MODES:
        raise PluginError(INVALID_CONFIG, f"unknown macvlan mode {mode!r}: it is one of {', '.join(MODES)}")
    cni = get(get(request.config, "args", dict, {}), "cni", dict, {})
    mac = request.runtime.get("mac") or cni.get("mac") or request.args.get("MAC", "")
    return virtual.add(request, "macvlan", parent=virtual.master(request), data=number(_MODE, MODES[mode]), mac=mac)


def check(request: Request) -> None:
    """Is it as it was made?"""
    virtual.check(request, "macvlan")


PLUGIN = Plugin("macvlan", add=add, delete=virtual.delete, check=check, collect=ipam.pass_on, status=ipam.pass_on)

if __name__ == "__main__":
    PLUGIN.main()
