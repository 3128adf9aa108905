"""``static``: the addresses that the configuration says, or the caller. It remembers nothing and reserves nothing.

::

    "ipam": {"type": "static", "addresses": [{"address": "10.1.0.9/24", "gateway": "10.1.0.1"}], "routes": [...]}

Addresses in ``runtimeConfig.ips`` or ``args.cni.ips`` take their place; those in CNI_ARGS (``IP=..;GATEWAY=..``) are
added.
Source: plugins@3d27709 plugins/ipam/static.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from ..failure import INVALID_CONFIG, OTHER, PluginError
from ..result import Result
from ..versions import NEWEST, at_least
from .skeleton import Plugin, Request, get


def add(request: Request) -> Result:
    """The addresses, as they are."""
    ipam = get(request.config, "ipam", dict, {})
    return {
        "cniVersion": NEWEST,
        "interfaces": [],
        "ips": _addresses(request),
        "routes": get(ipam, "routes", list, []),
        "dns": get(ipam, "dns", dict, {}),
    }


def check(request: Request) -> None:
    """Does the result of ADD have the addresses, with these gateways?"""
    there = {each["address"]: each.get("gateway") for each in request.needed_previous()["ips"]}
    for each in _addresses(request):
        if each["address"] not in there or each.get("gateway", there[each["address"]]) != there[each["address"]]:
            raise PluginError(OTHER, f"address {each['address']} is not in the result of ADD")


def _addresses(request: Request) -> list[dict[str, Any]]:
    ipam = get(request.config, "ipam", dict, {})
    if not ipam:
        raise PluginError(INVALID_CONFIG, "IPAM config missing 'ipam' key")
    cni = get(get(request.config, "args", dict, {}), "cni", dict, {})
    asked = get(request.runtime, "ips", list, []) or get(cni, "ips", list, [])
    listed: list[dict[str, Any]] = [{"address": each} for each in asked] or get(ipam, "addresses", list, [])
    listed = [*listed, *({"address": each.strip()} for each in request.args.get("IP", "").split(",") if each)]
    try:
        found = [_address(each) for each in listed]
        for text in (each for each in request.args.get("GATEWAY", "").split(",") if each):
            gateway = ipaddress.ip_address(text.strip())
            for each in found:
                if gateway in ipaddress.ip_interface(each["address"]).network:
                    each["gateway"] = str(gateway)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PluginError(INVALID_CONFIG, f"an address must be in CIDR notation: {error}") from error
    families = [ipaddress.ip_interface(each["address"]).version for each in found]
    if not at_least(request.version, "0.3.0") and max(families.count(4), families.count(6)) > 1:
        raise PluginError(
            INVALID_CONFIG, f"CNI version {request.version} does not support more than 1 address per family"
        )
    return found


def _address(data: dict[str, Any]) -> dict[str, Any]:
    text = str(data["address"])
    if "/" not in text:
        raise ValueError(f"{text!r} has no prefix length")
    gateway = {"gateway": str(ipaddress.ip_address(data["gateway"]))} if data.get("gateway") else {}
    return {"address": str(ipaddress.ip_interface(text)), **gateway}


PLUGIN = Plugin("static", add=add, check=check)

if __name__ == "__main__":
    PLUGIN.main()
