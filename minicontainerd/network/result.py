"""What ADD results in: interfaces, addresses, routes and DNS, in the words of any version of the specification.

::

    {"cniVersion": "1.1.0",
     "interfaces": [{"name": "cni0", "mac": ...}, {"name": "eth0", "mac": ..., "sandbox": "/run/netns/a"}],
     "ips":        [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 1}],     an index into interfaces
     "routes":     [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}],
     "dns":        {"nameservers": ["10.1.0.1"]}}

Inside this room a result is always a dictionary in the newest form. It is read into that form where it arrives
(:func:`read`), and written in the form that the other side speaks (:func:`written`). Going down loses what the older
form has no words for; what it can say survives both ways. A result that says something impossible is refused here,
so that no one below meets a broken address.

Source: cni@3f51e88 SPEC.md, "ADD Success"; pkg/types/040, pkg/types/100, pkg/types/020.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from ..errors import InvalidArgument
from .versions import SUPPORTED, at_least

Result = dict[str, Any]

SINCE_1_1 = {
    "interfaces": ("mtu", "socketPath", "pciID"),
    "routes": ("mtu", "advmss", "priority", "table", "scope"),
}
"""The keys of each list that came with 1.1.0."""


def read(data: Any, version: str = "") -> Result:
    """The result *data* (decoded JSON) in the newest form; *version* is what it is in if it does not say.

    Raises:
        InvalidArgument: it is not a result, or of a version that we do not know.
    """
    if not isinstance(data, dict):
        raise InvalidArgument(f"a result must be a JSON object, not {type(data).__name__}")
    version = data.get("cniVersion") or version or "0.1.0"
    if version not in SUPPORTED:
        raise InvalidArgument(f"a result of CNI version {version!r}: we know {', '.join(SUPPORTED)}")
    result = dict(data) if at_least(version, "0.3.0") else _from_pair(data)
    result["cniVersion"] = SUPPORTED[-1]
    result["interfaces"] = [_interface(each) for each in _list(result, "interfaces")]
    result["ips"] = [_address(each, len(result["interfaces"])) for each in _list(result, "ips")]
    result["routes"] = [_route(each) for each in _list(result, "routes")]
    result["dns"] = {} if result.get("dns") is None else result["dns"]
    if not isinstance(result["dns"], dict):
        raise InvalidArgument(f"a result's dns must be an object, not {result['dns']!r}")
    return result


def written(result: Result, version: str) -> Result:
    """The *result*, which is in the newest form, as *version* says it; empty lists are left out."""
    if not at_least(version, "0.3.0"):
        return _as_pair(result, version)
    lists: Result = {key: [dict(each) for each in result.get(key, [])] for key in ("interfaces", "ips", "routes")}
    if not at_least(version, "1.1.0"):
        for key, names in SINCE_1_1.items():
            lists[key] = [{name: each[name] for name in each if name not in names} for each in lists[key]]
    if not at_least(version, "1.0.0"):
        lists["ips"] = [{"version": _family(each["address"]), **each} for each in lists["ips"]]
    filled = {key: value for key, value in lists.items() if value}
    return {"cniVersion": version, **filled, "dns": result.get("dns") or {}}


def _list(result: Result, key: str) -> list[Any]:
    value = [] if result.get(key) is None else result[key]  # Go writes an empty list as null
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise InvalidArgument(f"a result's {key} must be a list of objects, not {value!r}")
    return value


def _interface(each: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(each.get("name"), str) or not each["name"]:
        raise InvalidArgument(f"an interface of a result must have a name: {each!r}")
    return dict(each)


def _address(each: dict[str, Any], interfaces: int) -> dict[str, Any]:
    kept = {key: value for key, value in each.items() if key != "version"}
    try:
        ipaddress.ip_interface(str(each.get("address")))
        if kept.get("gateway"):
            ipaddress.ip_address(str(kept["gateway"]))
        else:
            kept.pop("gateway", None)
    except ValueError as error:
        raise InvalidArgument(f"an address of a result: {each!r}: {error}") from error
    index = kept.get("interface")
    if index is not None and (type(index) is not int or index < 0 or (interfaces and index >= interfaces)):
        raise InvalidArgument(f"an address of a result: {each!r}: there are {interfaces} interfaces")
    return kept


def _route(each: dict[str, Any]) -> dict[str, Any]:
    try:
        ipaddress.ip_network(str(each.get("dst")), strict=False)
        if each.get("gw"):
            ipaddress.ip_address(str(each["gw"]))
    except ValueError as error:
        raise InvalidArgument(f"a route of a result: {each!r}: {error}") from error
    return {key: value for key, value in each.items() if value is not None and value != ""}


def _family(address: str) -> str:
    return str(ipaddress.ip_interface(address).version)


def _from_pair(data: dict[str, Any]) -> Result:
    """Before 0.3.0: ``ip4`` and ``ip6``, each with its routes."""
    ips: list[dict[str, Any]] = []
    routes: list[dict[str, Any]] = []
    for key in ("ip4", "ip6"):
        half = data.get(key)
        if half is None:
            continue
        if not isinstance(half, dict):
            raise InvalidArgument(f"a result's {key} must be an object, not {half!r}")
        gateway = half.get("gateway")
        ips.append({"address": half.get("ip"), **({"gateway": gateway} if gateway else {})})
        for route in half.get("routes") or []:
            via = route.get("gw") or gateway
            routes.append({"dst": route.get("dst"), **({"gw": via} if via else {})})
    return {"ips": ips, "routes": routes, "dns": data.get("dns") or {}}


def _as_pair(result: Result, version: str) -> Result:
    """The first address of each family, as before 0.3.0 no more could be told."""
    told: Result = {"cniVersion": version}
    for each in result.get("ips", []):
        family = _family(each["address"])
        routes = [route for route in result.get("routes", []) if _family(route["dst"]) == family]
        half: Result = {"ip": each["address"]}
        if each.get("gateway"):
            half["gateway"] = each["gateway"]
        if routes:
            half["routes"] = [{key: route[key] for key in ("dst", "gw") if key in route} for route in routes]
        told.setdefault(f"ip{family}", half)
    if not {"ip4", "ip6"} & set(told):
        raise InvalidArgument(f"a result without an address cannot be told in CNI {version}")
    return {**told, "dns": result.get("dns") or {}}
