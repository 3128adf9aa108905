"""Leaving under the host's address: what ``bridge`` and ``ptp`` do for ``ipMasq``.

A container's address means nothing outside. Packets that leave its network get the host's address in place of their
own, and the kernel remembers which answer is for whom::

    table inet cni_masquerade
        chain postrouting   type nat hook postrouting priority srcnat; multicast returns; goto leaving
        chain leaving       ip saddr 10.1.0.5 ip daddr != 10.1.0.0/16 masquerade comment "<tag> web c1"

Source: plugins@3d27709 pkg/ip/ipmasq_nftables_linux.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...linux.routes import Address
from ...linux.tell import step
from .. import nftables
from ..failure import OTHER, PluginError
from .skeleton import Request

_FAMILY, _TABLE = "inet", "cni_masquerade"
_FRAME = (
    f"add table {_FAMILY} {_TABLE}",
    f"add chain {_FAMILY} {_TABLE} leaving",
    f"add chain {_FAMILY} {_TABLE} postrouting {{ type nat hook postrouting priority srcnat; policy accept; }}",
    f"flush chain {_FAMILY} {_TABLE} postrouting",
    f"add rule {_FAMILY} {_TABLE} postrouting ip daddr 224.0.0.0/4 return",
    f"add rule {_FAMILY} {_TABLE} postrouting ip6 daddr ff00::/8 return",
    f"add rule {_FAMILY} {_TABLE} postrouting goto leaving",
)


def add(request: Request, addresses: Sequence[Address]) -> None:
    """Masquerade what these addresses send to somewhere else than their own network."""
    told = nftables.comment(request.network, request.container_id, request.ifname)
    lines = [
        f"add rule {_FAMILY} {_TABLE} leaving {ip} saddr {address.ip} {ip} daddr != {address.network} "
        f'masquerade comment "{told}"'
        for address in addresses
        for ip in ["ip" if address.version == 4 else "ip6"]
    ]
    with step("packets that leave get the host's address", "ipMasq"):
        nftables.change([*_FRAME, *lines])


def delete(request: Request) -> None:
    """Remove what :func:`add` made for this interface."""
    nftables.delete(_rules(request))


def check(request: Request, addresses: Sequence[Address]) -> None:
    """Is there a rule for each address?

    Raises:
        PluginError: one is missing.
    """
    if len(_rules(request)) < len(addresses):
        raise PluginError(OTHER, f"a rule that masquerades {request.container_id} is missing")


def collect(request: Request, valid: Iterable[tuple[str, str]]) -> None:
    """Remove the rules of this network that belong to nobody."""
    nftables.collect(_FAMILY, _TABLE, request.network, valid)


def _rules(request: Request) -> list[nftables.Rule]:
    tag = nftables.tag(request.network, request.container_id, request.ifname)
    return nftables.tagged(nftables.rules(_FAMILY, _TABLE, "leaving"), tag)
