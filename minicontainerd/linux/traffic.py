"""Traffic control: how fast an interface may send.

What is sent waits in a *queueing discipline*. A token bucket (``tbf``) lets through as many bytes as it has tokens,
which come at a *rate*; unused ones are saved up to *burst*, so that short bursts pass at full speed.

Only sending can be delayed: what arrives has been sent already. To limit it all the same, an ``ifb`` interface is put
in the way: a filter at the arrival (the discipline ``ingress``) hands each packet to the ifb as if it was to be sent
there, and the ifb has a token bucket.

Source: linux/pkt_sched.h, pkt_cls.h, tc_act/tc_mirred.h of Linux 6.1; tc-tbf(8), tc-mirred(8).
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from .links import Link, of_link
from .netlink import CREATE, EXCL, Netlink, attributes, nested, number, raw, text, typed
from .tell import act

_NEWQDISC, _GETQDISC, _NEWTFILTER = 36, 38, 44
_TCMSG = struct.Struct("=BxxxiIII")  # struct tcmsg: family, index, handle, parent, info
_KIND, _OPTIONS = 1, 2
_ROOT, _INGRESS, _INGRESS_HANDLE = 0xFFFFFFFF, 0xFFFFFFF1, 0xFFFF0000
_TBF_PARMS, _TBF_BURST = 1, 6
_RATE = struct.Struct("=BBHhHI")  # struct tc_ratespec: cell_log, linklayer, overhead, cell_align, mpu, rate
_LIMITS = struct.Struct("=III")  # the rest of struct tc_tbf_qopt: limit, buffer, mtu
_ETHERNET = 1
_NANOSECONDS_PER_TICK = 64
_U32_CLASSID, _U32_SEL, _U32_ACT = 1, 5, 7
_SELECT_ALL = struct.pack("=BBBxHHhhI IIii", 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)  # struct tc_u32_sel with one key
_MIRRED = struct.Struct("=IIiiiiI")  # struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex
_MIRRED_PARMS, _STOLEN, _EGRESS_REDIRECT = 2, 4, 1


class Discipline(NamedTuple):
    """A queueing discipline; *rate* is bytes a second, of a token bucket."""

    kind: str
    rate: int


@act("tc-tbf(8)", device=of_link, by_hand=typed(lambda a: _tbf_by_hand(a)))
def limit_sending(net: Netlink, device: Link, rate: int, burst: int, latency: float = 0.025) -> None:
    """Let *device* send *rate* bytes a second, after *burst* bytes saved up; what would wait longer than *latency*
    seconds is dropped.

    Raises:
        FileExistsError: EEXIST, it is limited already.
    """
    buffer = burst * 1_000_000_000 // rate // _NANOSECONDS_PER_TICK
    spec = _RATE.pack(0, _ETHERNET, 0, 0, 0, rate)
    parameters = spec + bytes(_RATE.size) + _LIMITS.pack(int(rate * latency) + burst, min(buffer, 0xFFFFFFFF), 0)
    options = nested(_OPTIONS, raw(_TBF_PARMS, parameters), number(_TBF_BURST, burst))
    head = _TCMSG.pack(0, device.ifindex, 0x10000, _ROOT, 0)
    net.change(_NEWQDISC, head + text(_KIND, "tbf") + options, CREATE | EXCL)


@act("tc-mirred(8)", device=of_link, to=of_link, by_hand=typed(lambda a: _redirect_by_hand(a)))
def redirect_arrivals(net: Netlink, device: Link, to: Link) -> None:
    """Have what arrives at *device* sent by the interface *to*, which hands it back when its time has come.

    Raises:
        FileExistsError: EEXIST, arrivals are redirected already.
    """
    head = _TCMSG.pack(0, device.ifindex, _INGRESS_HANDLE, _INGRESS, 0)
    net.change(_NEWQDISC, head + text(_KIND, "ingress"), CREATE | EXCL)
    mirred = raw(_MIRRED_PARMS, _MIRRED.pack(0, 0, _STOLEN, 0, 0, _EGRESS_REDIRECT, to.ifindex))
    action = nested(1, text(_KIND, "mirred"), nested(_OPTIONS, mirred))
    options = nested(_OPTIONS, number(_U32_CLASSID, 0x10001), raw(_U32_SEL, _SELECT_ALL), nested(_U32_ACT, action))
    priority_and_every_protocol = 1 << 16 | 0x0300
    head = _TCMSG.pack(0, device.ifindex, 0, _INGRESS_HANDLE, priority_and_every_protocol)
    net.change(_NEWTFILTER, head + text(_KIND, "u32") + options, CREATE | EXCL)


def disciplines(net: Netlink, device: Link) -> list[Discipline]:
    """What delays packets at *device*."""
    found = []
    for message in net.list(_GETQDISC, _TCMSG.pack(0, device.ifindex, 0, 0, 0)):
        if _TCMSG.unpack_from(message)[1] != device.ifindex:
            continue
        parts = attributes(message[_TCMSG.size :])
        kind = parts[_KIND].rstrip(b"\0").decode()
        rate = 0
        if kind == "tbf":
            rate = _RATE.unpack_from(attributes(parts[_OPTIONS])[_TBF_PARMS])[-1]
        found.append(Discipline(kind, rate))
    return found


def _tbf_by_hand(a: dict[str, Any]) -> str:
    return f"tc qdisc add dev {of_link(a['device'])} root tbf rate {a['rate']}bps burst {a['burst']}b latency 25ms"


def _redirect_by_hand(a: dict[str, Any]) -> str:
    device, to = of_link(a["device"]), of_link(a["to"])
    return (
        f"tc qdisc add dev {device} ingress && tc filter add dev {device} parent ffff: protocol all "
        f"u32 match u32 0 0 action mirred egress redirect dev {to}"
    )
