"""Addresses and routes: who an interface is, and where packets go.

An address belongs to an interface, and brings a route with it: to ``10.1.0.5/16`` on eth0 belongs "10.1.0.0/16 is
behind eth0". Further routes say over which neighbour (*gateway*) the rest is reached; of two that fit, the longer
prefix wins, then the smaller *priority*.

IPv6 has *duplicate address detection*: a new address is tentative for a second or two, and nothing can be sent from
it, unless it is added with NODAD or ``accept_dad`` is off. Source: linux/if_addr.h, linux/rtnetlink.h of Linux 6.1;
ip-address(8), ip-route(8).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from .links import Link, of_link
from .netlink import CREATE, EXCL, REPLACE, Netlink, attributes, nested, number, raw, typed
from .tell import act

_NEWADDR, _DELADDR, _GETADDR, _NEWROUTE, _DELROUTE, _GETROUTE = 20, 21, 22, 24, 25, 26
_ADDR = struct.Struct("=BBBBi")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
_FAMILIES = {4: 2, 6: 10}
_ADDRESS, _LOCAL, _BROADCAST = 1, 2, 4
_DST, _OIF, _GATEWAY, _PRIORITY, _METRICS, _TABLE = 1, 4, 5, 6, 8, 15
_METRIC_MTU, _METRIC_ADVMSS = 2, 8
_NODAD, _PERMANENT = 0x02, 0x80
_MAIN_TABLE, _PROTOCOL_BOOT, _UNICAST, _ONLINK = 254, 3, 1, 4
UNIVERSE, LINK, HOST = 0, 253, 254
"""Scopes: anywhere, on this wire, on this machine."""

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IP = ipaddress.IPv4Address | ipaddress.IPv6Address
Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network


class Route(NamedTuple):
    """One route of the main table, or of *table*."""

    dst: Prefix
    gateway: IP | None
    ifindex: int
    priority: int
    table: int
    scope: int
    mtu: int
    advmss: int


def addresses(net: Netlink, device: Link, *, everywhere: bool = False) -> list[Address]:
    """The addresses of an interface; those that every interface of IPv6 has by itself only if *everywhere*."""
    return [
        address for address, scope, _ in _addresses(net, device) if scope != LINK or address.version == 4 or everywhere
    ]


def lasting_addresses(net: Netlink, device: Link) -> list[Address]:
    """Those that somebody gave the interface, with no time to live, for traffic beyond the link: of global scope."""
    return [address for address, scope, flags in _addresses(net, device) if scope == UNIVERSE and flags & _PERMANENT]


def _addresses(net: Netlink, device: Link) -> Iterator[tuple[Address, int, int]]:
    """Each address of an interface, with its scope and flags."""
    for family in _FAMILIES.values():
        for message in net.list(_GETADDR, _ADDR.pack(family, 0, 0, 0, device.ifindex)):
            _, length, flags, scope, its_index = _ADDR.unpack_from(message)
            parts = attributes(message[_ADDR.size :])
            if its_index == device.ifindex:
                yield _interface(parts.get(_LOCAL) or parts[_ADDRESS], length), scope, flags


@act("ip-address(8)", device=of_link, by_hand=typed(lambda a: f"ip address add {a['address']} dev {a['device'].name}"))
def add_address(net: Netlink, device: Link, address: Address, *, detect_duplicates: bool = False) -> None:
    """Give an interface an address.

    Raises:
        FileExistsError: EEXIST, it has it.
        OSError: EACCES or EINVAL, IPv6 is off for this interface.
    """
    local = address.ip.packed
    parts = [raw(_LOCAL, local), raw(_ADDRESS, local)]
    if address.version == 4 and address.network.prefixlen < 31:
        parts.append(raw(_BROADCAST, address.network.broadcast_address.packed))
    flags = _NODAD if address.version == 6 and not detect_duplicates else 0
    net.change(_NEWADDR, _addr(device.ifindex, address, flags) + b"".join(parts), CREATE | EXCL)


@act(
    "ip-address(8)", device=of_link, by_hand=typed(lambda a: f"ip address delete {a['address']} dev {a['device'].name}")
)
def delete_address(net: Netlink, device: Link, address: Address) -> None:
    """Take an address away. Raises OSError (EADDRNOTAVAIL) if the interface does not have it."""
    net.change(_DELADDR, _addr(device.ifindex, address, 0) + raw(_LOCAL, address.ip.packed))


def routes(net: Netlink, version: int) -> list[Route]:
    """Every route of IP *version* 4 or 6 that leads to one interface."""
    found = []
    for message in net.list(_GETROUTE, _ROUTE.pack(_FAMILIES[version], 0, 0, 0, 0, 0, 0, 0, 0)):
        _, length, _, _, table, _, scope, _, _ = _ROUTE.unpack_from(message)
        parts = attributes(message[_ROUTE.size :])
        if _OIF in parts:
            metrics = attributes(parts.get(_METRICS, b""))
            dst = _interface(parts.get(_DST, bytes(4 if version == 4 else 16)), length).network
            gateway = ipaddress.ip_address(parts[_GATEWAY]) if _GATEWAY in parts else None
            found.append(
                Route(
                    dst,
                    gateway,
                    ifindex=_value(parts, _OIF),
                    priority=_value(parts, _PRIORITY),
                    table=_value(parts, _TABLE) or table,
                    scope=scope,
                    mtu=_value(metrics, _METRIC_MTU),
                    advmss=_value(metrics, _METRIC_ADVMSS),
                )
            )
    return found


@act("ip-route(8)", device=of_link, by_hand=typed(lambda a: _route_by_hand(a)))
def add_route(
    net: Netlink,
    device: Link,
    dst: Prefix,
    gateway: IP | None = None,
    *,
    priority: int = 0,
    table: int = _MAIN_TABLE,
    scope: int | None = None,
    mtu: int = 0,
    advmss: int = 0,
    replace: bool = False,
) -> None:
    """Send packets for *dst* out of the interface, to *gateway* or straight to whom they are for.

    Raises:
        FileExistsError: EEXIST, there is such a route.
        OSError: ENETUNREACH, the gateway is not on a wire of ours; ENETDOWN, the interface is down.
    """
    if scope is None:
        scope = UNIVERSE if gateway is not None or dst.version == 6 else LINK
    head = _ROUTE.pack(
        _FAMILIES[dst.version], dst.prefixlen, 0, 0, table if table < 256 else 0, _PROTOCOL_BOOT, scope, _UNICAST, 0
    )
    parts = [raw(_DST, dst.network_address.packed)] if dst.prefixlen else []
    parts += [number(_OIF, device.ifindex), number(_TABLE, table)]
    parts += [raw(_GATEWAY, gateway.packed)] if gateway is not None else []
    parts += [number(_PRIORITY, priority)] if priority else []
    metrics = [number(kind, value) for kind, value in ((_METRIC_MTU, mtu), (_METRIC_ADVMSS, advmss)) if value]
    parts += [nested(_METRICS, *metrics)] if metrics else []
    net.change(_NEWROUTE, head + b"".join(parts), CREATE | (REPLACE if replace else EXCL))


@act("ip-route(8)", device=of_link, by_hand=typed(lambda a: f"ip route delete {a['dst']} dev {a['device'].name}"))
def delete_route(net: Netlink, device: Link, dst: Prefix) -> None:
    """Remove a route of the main table. Raises OSError (ESRCH) if there is none."""
    head = _ROUTE.pack(_FAMILIES[dst.version], dst.prefixlen, 0, 0, _MAIN_TABLE, 0, 255, 0, 0)
    parts = [raw(_DST, dst.network_address.packed)] if dst.prefixlen else []
    net.change(_DELROUTE, head + b"".join(parts) + number(_OIF, device.ifindex))


def _addr(index: int, address: Address, flags: int) -> bytes:
    scope = HOST if address.ip.is_loopback else UNIVERSE
    return _ADDR.pack(_FAMILIES[address.version], address.network.prefixlen, flags, scope, index)


def _interface(packed: bytes, length: int) -> Address:
    return ipaddress.ip_interface((packed, length))


def _value(parts: dict[int, bytes], kind: int) -> int:
    return int.from_bytes(parts.get(kind, b""), "little")


def _route_by_hand(a: dict[str, Any]) -> str:
    via = f" via {a['gateway']}" if a.get("gateway") else ""
    return f"ip route add {a['dst']}{via} dev {a['device'].name}"
