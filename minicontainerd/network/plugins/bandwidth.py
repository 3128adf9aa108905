"""``bandwidth``: how fast a container may receive (*ingress*) and send (*egress*), after a plugin that laid a cable.

::

    {"type": "bandwidth", "ingressRate": 8000000, "ingressBurst": 800000,     bits a second, and bits
                          "egressRate": 4000000, "egressBurst": 400000}       or the same in runtimeConfig.bandwidth

What the container receives, the host sends into its end of the cable, where a token bucket limits it. What the
container sends arrives there, and is sent on through an ``ifb`` with a token bucket (``linux/traffic``). The buckets
end with the cable; the ifb has a name worked out from network and container, by which DEL finds it.

Source: plugins@3d27709 plugins/meta/bandwidth.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import NamedTuple

from ...linux.links import Link, add_link, delete_link, find, link, links, set_link
from ...linux.netlink import Netlink
from ...linux.tell import step
from ...linux.traffic import disciplines, limit_sending, redirect_arrivals
from ..failure import INVALID_CONFIG, OTHER, PluginError
from ..result import Result
from . import ipam, sandbox
from .skeleton import Plugin, Request, get


class Limits(NamedTuple):
    """Bytes a second, and bytes; 0 is no limit."""

    ingress_rate: int
    ingress_burst: int
    egress_rate: int
    egress_burst: int


def add(request: Request) -> Result:
    """Set the limits; the result tells the ifb as well."""
    result, limits = request.needed_previous(), _limits(request)
    if limits == Limits(0, 0, 0, 0):
        return result
    with Netlink() as host:
        port = _port(request, host)
        try:
            if limits.ingress_rate:
                with step("what the container receives is limited"):
                    limit_sending(host, port, limits.ingress_rate, limits.ingress_burst)
            if limits.egress_rate:
                with step("what the container sends is limited"):
                    add_link(host, _ifb_name(request), "ifb", mtu=port.mtu)
                    ifb = link(host, _ifb_name(request))
                    set_link(host, ifb, up=True)
                    redirect_arrivals(host, port, ifb)
                    limit_sending(host, ifb, limits.egress_rate, limits.egress_burst)
                    result["interfaces"].append(ipam.told(ifb))
        except BaseException:
            with contextlib.suppress(OSError):
                delete(request)
            raise
    return result


def delete(request: Request) -> None:
    """Remove the ifb; the rest goes with the cable."""
    with Netlink() as host:
        ifb = find(host, _ifb_name(request))
        if ifb is not None:
            delete_link(host, ifb)


def check(request: Request) -> None:
    """Are the buckets there, with their rates?"""
    request.needed_previous()
    limits = _limits(request)
    with Netlink() as host:
        if limits.ingress_rate:
            _check_rate(host, _port(request, host), limits.ingress_rate)
        if limits.egress_rate:
            _check_rate(host, sandbox.needed(host, _ifb_name(request)), limits.egress_rate)


def _check_rate(host: Netlink, device: Link, rate: int) -> None:
    if not any(each.kind == "tbf" and each.rate == rate for each in disciplines(host, device)):
        raise PluginError(OTHER, f"{device.name} is not limited to {rate * 8} bits a second")


def _port(request: Request, host: Netlink) -> Link:
    """The host's end of the container's cable."""
    with sandbox.opened(request) as namespace, Netlink(namespace) as inner:
        device = sandbox.needed(inner, request.ifname)
    names = {each["name"] for each in request.needed_previous()["interfaces"] if not each.get("sandbox")}
    for each in links(host):
        if device.kind == "veth" and each.ifindex == device.parent and each.name in names:
            return each
    raise PluginError(OTHER, f"container interface {request.ifname} has no veth peer on the host in the result before")


def _ifb_name(request: Request) -> str:
    """As long as a name may be."""
    return "bwp" + hashlib.sha512(f"{request.network}{request.container_id}".encode()).hexdigest()[:12]


def _limits(request: Request) -> Limits:
    keys = ("ingressRate", "ingressBurst", "egressRate", "egressBurst")
    has_own = any(key in request.config for key in keys)
    source = request.config if has_own else get(request.runtime, "bandwidth", dict, {})
    values = [get(source, key, int, 0) for key in keys]
    for rate, burst, name in ((values[0], values[1], "ingress"), (values[2], values[3], "egress")):
        if bool(rate) != bool(burst) or min(rate, burst) < 0:
            raise PluginError(INVALID_CONFIG, f"if {name}Rate or {name}Burst is set, so must be the other")
        if burst // 8 >= 1 << 32 or rate // 8 >= 1 << 32:
            raise PluginError(INVALID_CONFIG, f"{name}Burst and {name}Rate cannot be more than 4 GB")
        if rate and min(rate, burst) < 8:
            raise PluginError(INVALID_CONFIG, f"{name}: less than a byte is no limit that can be set")
    return Limits(*(value // 8 for value in values))


PLUGIN = Plugin("bandwidth", add=add, delete=delete, check=check)

if __name__ == "__main__":
    PLUGIN.main()
