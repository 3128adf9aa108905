"""``portmap``: ports of the host that lead to a container. It comes after a plugin that gave the container an address.

::

    "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "1.2.3.4"}]}

    table ip cni_portmap                                                        and the same in table ip6
        chain prerouting    nat, hook prerouting    what arrives:   fib daddr type local  jump ports
        chain output        nat, hook output        what we send:   the same
        chain ports         tcp dport 8080 dnat to 10.1.0.5:80  comment "<tag> web c1"
        chain postrouting   nat, hook postrouting   ip saddr 10.1.0.5 ip daddr 10.1.0.5 masquerade

The last chain is for two who would not get their answer otherwise: a container that asks for its own published port
(the answer would not pass the host again), and a program on the host that asks ``127.0.0.1:8080`` (no one answers to
that address from outside; it also needs ``route_localnet``). Both get the host's address in place of their own.
IPv6 has no such thing for ``::1``. With ``"snat": false`` there is no last chain.

Source: plugins@3d27709 plugins/meta/portmap.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Any, NamedTuple

from ...linux.links import links
from ...linux.netlink import Netlink
from ...linux.routes import IP, Address, addresses
from ...linux.tell import step
from .. import nftables
from ..failure import INVALID_CONFIG, OTHER, PluginError
from ..result import Result
from . import sandbox
from .skeleton import Plugin, Request, get

_TABLE = "cni_portmap"
_FAMILIES = {4: "ip", 6: "ip6"}
_PROTOCOLS = ("tcp", "udp", "sctp")


class Mapping(NamedTuple):
    """One port of the host, on one address of its or all."""

    host_port: int
    container_port: int
    protocol: str
    host_ip: IP | None


def add(request: Request) -> Result:
    """Lead the ports to the first address of each family; the result passes through.

    Raises:
        PluginError: it is not in a chain, or a mapping is wrong.
    """
    result, mappings = request.needed_previous(), _mappings(request)
    for address in _targets(request, result):
        lines = _rules_for(request, mappings, address)
        if lines:
            with step(f"ports of the host lead to {address.ip}", "portMappings"):
                nftables.change([*_frame(request, address.version), *lines])
                if address.version == 4 and _with_snat(request):
                    _let_localhost_out(address)
    return result


def delete(request: Request) -> None:
    """Remove the rules of this interface, whatever addresses and ports they speak of."""
    for family in _FAMILIES.values():
        nftables.delete(nftables.tagged(nftables.rules(family, _TABLE), _tag(request)))


def check(request: Request) -> None:
    """Are all rules there?"""
    result, mappings = request.needed_previous(), _mappings(request)
    for address in _targets(request, result):
        wanted = len(_rules_for(request, mappings, address))
        found = nftables.tagged(nftables.rules(_FAMILIES[address.version], _TABLE), _tag(request))
        if len(found) < wanted:
            raise PluginError(OTHER, f"of {wanted} rules for the ports of {address.ip} there are {len(found)}")


def collect(request: Request) -> None:
    """Remove rules of nobody's."""
    for family in _FAMILIES.values():
        nftables.collect(family, _TABLE, request.network, request.valid)


def _frame(request: Request, version: int) -> list[str]:
    """What all containers share. Flushed and filled again in the same transaction, it is never seen empty."""
    family = _FAMILIES[version]
    conditions = " ".join(get(request.config, f"conditionsV{version}", list, []))
    lines = [f"add table {family} {_TABLE}", f"add chain {family} {_TABLE} ports"]
    for chain in ("prerouting", "output"):
        lines += [
            f"add chain {family} {_TABLE} {chain} {{ type nat hook {chain} priority -100; policy accept; }}",
            f"flush chain {family} {_TABLE} {chain}",
            f"add rule {family} {_TABLE} {chain} {conditions} fib daddr type local jump ports",
        ]
    hook = "type nat hook postrouting priority srcnat; policy accept;"
    return [*lines, f"add chain {family} {_TABLE} postrouting {{ {hook} }}"]


def _rules_for(request: Request, mappings: list[Mapping], address: Address) -> list[str]:
    family = _FAMILIES[address.version]
    comment = f'comment "{nftables.comment(request.network, request.container_id, request.ifname)}"'
    target = str(address.ip) if address.version == 4 else f"[{address.ip}]"
    lines = []
    for each in mappings:
        if each.host_ip is not None and each.host_ip.version != address.version:
            continue
        exact = each.host_ip is not None and not each.host_ip.is_unspecified
        where = f"{family} daddr {each.host_ip} " if exact else ""
        # A mapping for one address comes before those for every address, whoever was first.
        place = f"{'insert' if exact else 'add'} rule {family} {_TABLE} ports"
        match = f"{where}{each.protocol} dport {each.host_port}"
        lines.append(f"{place} {match} dnat to {target}:{each.container_port} {comment}")
    if lines and _with_snat(request):
        sources = [str(address.ip), *(["127.0.0.1"] if address.version == 4 else [])]
        lines += [
            f"add rule {family} {_TABLE} postrouting {family} saddr {source} {family} daddr {address.ip} "
            f"masquerade {comment}"
            for source in sources
        ]
    return lines


def _let_localhost_out(target: Address) -> None:
    """Let packets from 127.0.0.1 go out to the container's network; the kernel holds them for nonsense otherwise."""
    with Netlink() as host:
        for device in links(host):
            if any(target.ip in each.network for each in addresses(host, device) if each.version == 4):
                sandbox.setting(f"ipv4/conf/{device.name}/route_localnet", "1", must=False)


def _targets(request: Request, result: Result) -> list[Address]:
    first: dict[int, Address] = {}
    for address in sandbox.own_addresses(result, request.ifname):
        first.setdefault(address.version, address)
    return list(first.values())


def _mappings(request: Request) -> list[Mapping]:
    return [_mapping(each) for each in get(request.runtime, "portMappings", list, [])]


def _mapping(data: Any) -> Mapping:
    try:
        host_ip = ipaddress.ip_address(data["hostIP"]) if data.get("hostIP") else None
        mapping = Mapping(data["hostPort"], data["containerPort"], str(data.get("protocol") or "tcp").lower(), host_ip)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PluginError(INVALID_CONFIG, f"port mapping {json.dumps(data)}: {error!r}") from error
    for name, port in (("host", mapping.host_port), ("container", mapping.container_port)):
        if type(port) is not int or not 0 < port < 65536:
            raise PluginError(INVALID_CONFIG, f"Invalid {name} port number: {json.dumps(port)}")
    if mapping.protocol not in _PROTOCOLS:
        raise PluginError(INVALID_CONFIG, f"protocol {mapping.protocol!r} is none of {', '.join(_PROTOCOLS)}")
    return mapping


def _with_snat(request: Request) -> bool:
    return get(request.config, "snat", bool, True)


def _tag(request: Request) -> str:
    return nftables.tag(request.network, request.container_id, request.ifname)


PLUGIN = Plugin("portmap", add=add, delete=delete, check=check, collect=collect)

if __name__ == "__main__":
    PLUGIN.main()
