"""``firewall``: let a container's traffic be forwarded on a host that forwards nothing, and keep networks apart.

::

    table inet cni_firewall
        chain forward       filter, hook forward, a little before the usual filters: jump to the three that follow
        chain admin         for the administrator's own rules, never touched by us
        chain isolation     iifname "cni0" oifname != "cni0" jump arriving
        chain containers    ip daddr 10.1.0.5 ct state established,related  mark 0x4000   comment "<tag> web c1"
                            ip saddr 10.1.0.5                               mark 0x4000
        chain arriving      oifname "cni0" drop
    table ip filter, chain FORWARD                                          mark 0x4000 accept;    the same in ip6

In nftables, a packet that one table accepts is still looked at by the next, and a *drop* of any is final. So nobody
can allow what the host's own rules forbid from a table beside them. What we can do is to put one rule in front of them:
where a host has a chain FORWARD whose policy is to drop, it is the one that iptables made. The mark tells it what we
found. The rule is written such that iptables can still read its chain.

``"ingressPolicy": "same-bridge"`` keeps bridges apart that both have it: what comes from one must not arrive at
another. ``"isolated"`` also drops what stays on one bridge, if the host shows bridged frames to its filters.

Source: plugins@3d27709 plugins/meta/firewall.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...linux.routes import Address
from ...linux.tell import step
from .. import nftables
from ..failure import INVALID_CONFIG, OTHER, PluginError
from ..names import is_name
from ..result import Result
from . import sandbox
from .skeleton import Plugin, Request, get

_FAMILY, _TABLE = "inet", "cni_firewall"
_MARK = "0x4000"
_HERE = f"{_FAMILY} {_TABLE}"
_POLICIES = ("", "open", "same-bridge", "isolated")
_NOTE = "CNI firewall plugin rules"


def add(request: Request) -> Result:
    """Allow what comes from the container, and answers to it; the result passes through."""
    result = request.needed_previous()
    lines = [*_frame(), *_rules_for(request, result)]
    with step("the container's traffic may pass", "firewall"):
        nftables.change(lines)
        for family in ("ip", "ip6"):
            _ensure_front_door(family)
    return result


def delete(request: Request) -> None:
    """Remove the rules of this interface."""
    nftables.delete(_own(request))


def check(request: Request) -> None:
    """Are all rules there?"""
    wanted = len(_rules_for(request, request.needed_previous()))
    if len(_own(request)) < wanted:
        raise PluginError(OTHER, f"rules for {request.container_id} are missing")


def collect(request: Request) -> None:
    """Remove rules of nobody's."""
    nftables.collect(_FAMILY, _TABLE, request.network, request.valid)


def _frame() -> list[str]:
    return [
        f"add table {_HERE}",
        *(f"add chain {_HERE} {chain}" for chain in ("admin", "isolation", "containers", "arriving")),
        f"add chain {_HERE} forward {{ type filter hook forward priority filter - 10; policy accept; }}",
        f"flush chain {_HERE} forward",
        *(f"add rule {_HERE} forward jump {chain}" for chain in ("admin", "isolation", "containers")),
    ]


def _rules_for(request: Request, result: Result) -> list[str]:
    comment = f'comment "{nftables.comment(request.network, request.container_id, request.ifname)}"'
    lines = []
    for address in sandbox.own_addresses(result, request.ifname):
        lines += [f"add rule {_HERE} containers {rule} {comment}" for rule in _allowed(address)]
    return [*lines, *(f"add rule {_HERE} {rule} {comment}" for rule in _apart(request, result))]


def _allowed(address: Address) -> Iterator[str]:
    ip = "ip" if address.version == 4 else "ip6"
    mark = f"meta mark set meta mark or {_MARK}"
    yield f"{ip} daddr {address.ip} ct state established,related {mark}"
    yield f"{ip} saddr {address.ip} {mark}"


def _apart(request: Request, result: Result) -> Iterator[str]:
    policy = get(request.config, "ingressPolicy", str, "")
    if policy not in _POLICIES:
        raise PluginError(INVALID_CONFIG, f"ingressPolicy must be open, same-bridge or isolated, not {policy!r}")
    if policy in ("", "open"):
        return
    bridge = next((each["name"] for each in result["interfaces"] if not each.get("sandbox")), "")
    if not is_name(bridge):
        raise PluginError(
            INVALID_CONFIG, f"ingressPolicy: the result before has no bridge that nft can be told: {bridge!r}"
        )
    yield f'isolation iifname "{bridge}" oifname != "{bridge}" jump arriving'
    yield f'arriving oifname "{bridge}" drop'
    if policy == "isolated":
        yield f'isolation iifname "{bridge}" oifname "{bridge}" drop'


def _ensure_front_door(family: str) -> None:
    """One rule in front of iptables' own, once."""
    there = nftables.rules(family, "filter", "FORWARD")
    if any(rule.get("comment") == _NOTE for rule in there):
        return
    nftables.change(
        [
            f"add table {family} filter",
            f"add chain {family} filter FORWARD {{ type filter hook forward priority filter; }}",
            f'insert rule {family} filter FORWARD meta mark and {_MARK} == {_MARK} counter accept comment "{_NOTE}"',
        ]
    )


def _own(request: Request) -> list[nftables.Rule]:
    tag = nftables.tag(request.network, request.container_id, request.ifname)
    return nftables.tagged(nftables.rules(_FAMILY, _TABLE), tag)


PLUGIN = Plugin("firewall", add=add, delete=delete, check=check, collect=collect)

if __name__ == "__main__":
    PLUGIN.main()
