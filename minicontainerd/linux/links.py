"""Network interfaces: make, find, change, move between namespaces, remove.

The kernel knows an interface by its *index*, a number that is never given twice in one namespace; its name is for
people and can change. Interfaces of one kind are pairs or layers of others::

    veth      two ends of a cable: what goes in at one comes out at the other, which may be in another namespace
    bridge    a switch: an interface whose *master* is the bridge is plugged into it
    macvlan   one more hardware address on a *parent* interface;  ipvlan: one more IP address on it
    vlan      the frames of a parent that carry one tag
    dummy     goes nowhere, and can carry an address

Every function is one message on a socket of the namespace where the interface is (``netlink``).
Source: linux/if_link.h of Linux 6.1; ip-link(8).
"""

from __future__ import annotations

import enum
import errno
import os
import struct
from typing import Any, NamedTuple

from .netlink import CREATE, EXCL, Netlink, attributes, nested, number, raw, text, typed
from .tell import act, descriptor

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_INFO = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_AF_BRIDGE = 7

_ADDRESS, _IFNAME, _MTU, _LINK, _MASTER, _OPERSTATE, _LINKINFO = 1, 3, 4, 5, 10, 16, 18
_NET_NS_FD, _AF_SPEC, _TXQLEN, _PROMISCUITY, _LINK_NETNSID, _PROTINFO, _ALIAS = 28, 26, 13, 30, 37, 12, 20
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND = 1, 2, 4
_VETH_PEER = 1
_BRPORT_HAIRPIN, _BRPORT_ISOLATED = 4, 33
_BRIDGE_VLAN_FILTERING = 7
_BRIDGE_FLAGS, _BRIDGE_VLAN_INFO, _BRIDGE_SELF = 0, 2, 2
_OPER_UP = 6


class IFF(enum.IntFlag):
    """Flags of an interface, from linux/if.h."""

    UP = 0x1
    LOOPBACK = 0x8
    RUNNING = 0x40
    PROMISC = 0x100
    ALLMULTI = 0x200


class Link(NamedTuple):
    """What is known of an interface. *parent* is its peer or the interface below it, which may be in another
    namespace; *kind* is empty for hardware and ``lo``."""

    ifindex: int
    name: str
    kind: str
    mac: str
    mtu: int
    flags: IFF
    master: int
    parent: int
    is_up: bool
    promiscuity: int
    queue: int
    alias: str
    netnsid: int | None


def of_link(device: Link) -> str:
    """An interface in a told call."""
    return device.name


def _of_master(device: Link | None) -> str:
    return device.name if device is not None else "nobody"


def new_name() -> str:
    """A name for the host's end of a pair, which nobody has to remember."""
    return f"veth{os.urandom(4).hex()}"


def links(net: Netlink) -> list[Link]:
    """Every interface of the namespace."""
    return [_link(each) for each in net.list(_GETLINK, _INFO.pack(0, 0, 0, 0, 0))]


def link(net: Netlink, name: str | int) -> Link:
    """The interface with this name, or index.

    Raises:
        OSError: ENODEV, there is none.
    """
    if isinstance(name, int):
        return _link(net.get(_GETLINK, _INFO.pack(0, 0, name, 0, 0)))
    return _link(net.get(_GETLINK, _INFO.pack(0, 0, 0, 0, 0) + text(_IFNAME, name)))


def find(net: Netlink, name: str | int) -> Link | None:
    """The interface with this name, or index; None if there is none."""
    try:
        return link(net, name)
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.ENOENT):
            raise
        return None


def mac_bytes(mac: str) -> bytes:
    """A hardware address as the kernel has it.

    >>> mac_bytes("02:00:00:00:00:0a").hex()
    '02000000000a'
    """
    return bytes.fromhex(mac.replace(":", " "))


@act("veth(4)", netns=descriptor, by_hand=typed(lambda a: _veth_by_hand(a)))
def add_veth(net: Netlink, name: str, peer: str, netns: int, *, mtu: int = 0, peer_mac: str = "") -> None:
    """Make a pair: *name* here, *peer* in the namespace behind *netns*. Neither is up.

    Raises:
        FileExistsError: EEXIST, one of the names is taken.
    """
    size = [number(_MTU, mtu)] if mtu else []
    mac = [raw(_ADDRESS, mac_bytes(peer_mac))] if peer_mac else []
    other = raw(
        _VETH_PEER, _INFO.pack(0, 0, 0, 0, 0) + b"".join([text(_IFNAME, peer), number(_NET_NS_FD, netns), *size, *mac])
    )
    info = nested(_LINKINFO, text(_INFO_KIND, "veth"), nested(_INFO_DATA, other))
    body = b"".join([_INFO.pack(0, 0, 0, 0, 0), text(_IFNAME, name), *size, info])
    net.change(_NEWLINK, body, CREATE | EXCL)


@act("ip-link(8)", data=lambda value: value.hex(), by_hand=typed(lambda a: _add_by_hand(a)))
def add_link(
    net: Netlink,
    name: str,
    kind: str,
    *,
    parent: int = 0,
    mtu: int = 0,
    mac: str = "",
    netns: int = -1,
    data: bytes = b"",
) -> None:
    """Make an interface of this *kind*, down. *data* are attributes of the kind's own; *netns* where it is to be.

    Raises:
        FileExistsError: EEXIST, the name is taken.
        OSError: EOPNOTSUPP, this kernel has no such kind.
    """
    parts = [_INFO.pack(0, 0, 0, 0, 0), text(_IFNAME, name)]
    parts += [number(_LINK, parent)] if parent else []
    parts += [number(_MTU, mtu)] if mtu else []
    parts += [raw(_ADDRESS, mac_bytes(mac))] if mac else []
    parts += [number(_NET_NS_FD, netns)] if netns >= 0 else []
    parts.append(nested(_LINKINFO, text(_INFO_KIND, kind), *([nested(_INFO_DATA, data)] if data else [])))
    net.change(_NEWLINK, b"".join(parts), CREATE | EXCL)


@act("ip-link(8)", device=of_link, by_hand=typed(lambda a: f"ip link delete dev {a['device'].name}"))
def delete_link(net: Netlink, device: Link) -> None:
    """Remove an interface, and its peer with it.

    Raises:
        OSError: ENODEV, it is gone; EOPNOTSUPP, it is hardware.
    """
    net.change(_DELLINK, _INFO.pack(0, 0, device.ifindex, 0, 0))


@act("ip-link(8)", device=of_link, master=_of_master, netns=descriptor, by_hand=typed(lambda a: _set_by_hand(a)))
def set_link(
    net: Netlink,
    device: Link,
    *,
    up: bool | None = None,
    promisc: bool | None = None,
    allmulti: bool | None = None,
    master: Link | None = None,
    mtu: int = 0,
    mac: str = "",
    name: str = "",
    queue: int | None = None,
    alias: str | None = None,
    netns: int = -1,
) -> None:
    """Change what is given. *master* is the bridge to plug it into; a new *name* needs it down, unless it moves to the
    namespace behind *netns* in the same moment, which brings it down.

    Raises:
        OSError: ENODEV, it is gone; EBUSY, it must be down for this; EEXIST, the new name is taken; EINVAL, and
            others, what the kernel thinks of the value.
    """
    flags = change = 0
    for wanted, flag in ((up, IFF.UP), (promisc, IFF.PROMISC), (allmulti, IFF.ALLMULTI)):
        if wanted is not None:
            change |= flag
            flags |= flag if wanted else 0
    parts = [_INFO.pack(0, 0, device.ifindex, flags, change)]
    parts += [number(_MASTER, master.ifindex)] if master is not None else []
    parts += [number(_MTU, mtu)] if mtu else []
    parts += [raw(_ADDRESS, mac_bytes(mac))] if mac else []
    parts += [text(_IFNAME, name)] if name else []
    parts += [number(_TXQLEN, queue)] if queue is not None else []
    parts += [text(_ALIAS, alias)] if alias is not None else []
    parts += [number(_NET_NS_FD, netns)] if netns >= 0 else []
    net.change(_NEWLINK, b"".join(parts))


@act(
    "bridge(8)",
    by_hand=typed(
        lambda a: (
            f"bridge link set dev {a['device'].name} hairpin {_on(a.get('hairpin'))} isolated {_on(a.get('isolated'))}"
        )
    ),
)
def set_bridge_port(net: Netlink, device: Link, *, hairpin: bool = False, isolated: bool = False) -> None:
    """Of an interface in a bridge: may frames go out where they came in, and is it kept from other isolated ports?"""
    parts = [number(_BRPORT_HAIRPIN, hairpin, "=B"), *([number(_BRPORT_ISOLATED, True, "=B")] if isolated else [])]
    net.change(_SETLINK, _INFO.pack(_AF_BRIDGE, 0, device.ifindex, 0, 0) + nested(_PROTINFO, *parts))


@act(
    "bridge(8)",
    by_hand=typed(
        lambda a: f"bridge vlan {'add' if a.get('add', True) else 'del'} dev {a['device'].name} vid {a['vlan']}"
    ),
)
def set_bridge_vlan(
    net: Netlink,
    device: Link,
    vlan: int,
    *,
    pvid: bool = False,
    untagged: bool = False,
    add: bool = True,
    itself: bool = False,
) -> None:
    """Let a bridge's port carry the tag *vlan*, or no more; with *itself*, the bridge's own port.

    Raises:
        OSError: EOPNOTSUPP, this kernel's bridges know no VLANs.
    """
    info = struct.pack("=HH", (2 if pvid else 0) | (4 if untagged else 0), vlan)
    flags = [number(_BRIDGE_FLAGS, _BRIDGE_SELF, "=H")] if itself else []
    body = _INFO.pack(_AF_BRIDGE, 0, device.ifindex, 0, 0) + nested(_AF_SPEC, *flags, raw(_BRIDGE_VLAN_INFO, info))
    net.change(_SETLINK if add else _DELLINK, body)


@act(
    "ip-link(8)",
    device=of_link,
    by_hand=typed(lambda a: f"ip link set dev {a['device'].name} type bridge vlan_filtering 1"),
)
def filter_vlans(net: Netlink, device: Link) -> None:
    """Have a bridge look at the tags of frames.

    Raises:
        OSError: EOPNOTSUPP, this kernel's bridges know no VLANs.
    """
    data = nested(_INFO_DATA, number(_BRIDGE_VLAN_FILTERING, 1, "=B"))
    net.change(_NEWLINK, _INFO.pack(0, 0, device.ifindex, 0, 0) + nested(_LINKINFO, text(_INFO_KIND, "bridge"), data))


def _link(message: bytes) -> Link:
    _, _, index, flags, _ = _INFO.unpack_from(message)
    found = attributes(message[_INFO.size :])
    info = attributes(found.get(_LINKINFO, b""))

    def value(kind: int) -> int:
        return int.from_bytes(found.get(kind, b""), "little")

    return Link(
        ifindex=index,
        name=found[_IFNAME].rstrip(b"\0").decode(),
        kind=info.get(_INFO_KIND, b"").rstrip(b"\0").decode(),
        mac=found.get(_ADDRESS, b"").hex(":"),
        mtu=value(_MTU),
        flags=IFF(flags & sum(IFF)),
        master=value(_MASTER),
        parent=value(_LINK),
        is_up=value(_OPERSTATE) == _OPER_UP,
        promiscuity=value(_PROMISCUITY),
        queue=value(_TXQLEN),
        alias=found.get(_ALIAS, b"").rstrip(b"\0").decode(errors="replace"),
        netnsid=value(_LINK_NETNSID) if _LINK_NETNSID in found else None,
    )


def _veth_by_hand(a: dict[str, Any]) -> str:
    return f"ip link add {a['name']} type veth peer name {a['peer']} netns CONTAINER"


def _add_by_hand(a: dict[str, Any]) -> str:
    below = f" link {a['parent']}" if a.get("parent") else ""
    return f"ip link add{below} name {a['name']} type {a['kind']}"


def _set_by_hand(a: dict[str, Any]) -> str:
    words = [f"ip link set dev {a['device'].name}"]
    words += [f"{word} {a[key]}" for key, word in _WORDS.items() if a.get(key)]
    words += [f"{key} {_on(a[key])}" for key in ("promisc", "allmulti") if a.get(key) is not None]
    words += [f"master {a['master'].name}"] if a.get("master") else []
    words += ["netns CONTAINER"] if a.get("netns", -1) >= 0 else []
    words += ["up" if a["up"] else "down"] if a.get("up") is not None else []
    return " ".join(words)


_WORDS = {"mac": "address", "mtu": "mtu", "name": "name", "queue": "txqueuelen", "alias": "alias"}


def _on(value: object) -> str:
    return "on" if value else "off"
