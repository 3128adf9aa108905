"""Addresses from another plugin: what every plugin that makes an interface does with its ``ipam``. Not a plugin itself.

The order matters: addresses are asked for after the interface is made, so that a name that is taken costs none; and
given back last, when nobody can be using them any more.
"""

from __future__ import annotations

import contextlib
from typing import Any

from ...linux.links import Link
from ..failure import OTHER, PluginError
from ..result import Result
from ..versions import NEWEST
from .skeleton import Request, delegate, get


def kind(request: Request) -> str:
    """The name of the IPAM plugin, or "" for an interface without addresses."""
    return str(get(request.config, "ipam", dict, {}).get("type") or "")


def empty(request: Request, *interfaces: dict[str, Any]) -> Result:
    """A result with these interfaces, and no addresses."""
    dns = get(request.config, "dns", dict, {})
    return {"cniVersion": NEWEST, "interfaces": list(interfaces), "ips": [], "routes": [], "dns": dns}


def told(device: Link, sandbox: str = "") -> dict[str, Any]:
    """An interface as a result tells it."""
    here = {"sandbox": sandbox} if sandbox else {}
    return {"name": device.name, "mac": device.mac, "mtu": device.mtu, **here}


def fill(request: Request, result: Result, index: int = 0) -> bool:
    """Ask for addresses and put them into *result*, for its interface number *index*; False if there is no IPAM.

    Raises:
        PluginError: there are none to be had.
    """
    if not kind(request):
        return False
    given = delegate(request, kind(request)) or {}
    if not given.get("ips"):
        raise PluginError(OTHER, "IPAM plugin returned missing IP config")
    result |= {"ips": given["ips"], "routes": given["routes"], "dns": result["dns"] or given["dns"]}
    for each in result["ips"]:
        each["interface"] = index
    return True


def pass_on(request: Request) -> None:
    """DEL, CHECK, GC and STATUS are for the IPAM plugin as well."""
    if kind(request):
        delegate(request, kind(request))


def undo(request: Request) -> None:
    """After a failed ADD, which has an error of its own to tell."""
    if kind(request):
        with contextlib.suppress(PluginError, OSError):
            delegate(request, kind(request), command="DEL")
