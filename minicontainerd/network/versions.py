"""Versions of the CNI specification, and which of those on offer to speak.

A network's configuration offers versions, in ``cniVersion`` and ``cniVersions``; the highest that we know is spoken
with all its plugins. What changed for a caller:

====== ==========================================================================================
0.1.0  one IPv4 and one IPv6 address a result, as ``ip4`` and ``ip6``
0.2.0  the command VERSION
0.3.0  results with interfaces and any number of addresses; chains of plugins
0.4.0  CHECK, and the result of ADD passed to DEL as well
1.0.0  only lists of plugins; an address no longer tells its family
1.1.0  GC and STATUS; ``cniVersions``; more about interfaces and routes
====== ==========================================================================================

Source: cni@3f51e88 SPEC.md, "Released versions" and "Version considerations".
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import InvalidArgument

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST = SUPPORTED[-1]


def order(version: str) -> tuple[int, int, int]:
    """A key to compare versions by.

    >>> order("0.4.0") < order("1.0.0")
    True

    Raises:
        InvalidArgument: it is not three numbers with dots between.
    """
    parts = version.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        raise InvalidArgument(f"CNI version {version!r} is not of the form MAJOR.MINOR.PATCH")
    return int(parts[0]), int(parts[1]), int(parts[2])


def at_least(version: str, wanted: str) -> bool:
    """Whether *version* has what came with *wanted*."""
    return order(version) >= order(wanted)


def choose(offered: Iterable[str]) -> str:
    """The highest of the *offered* versions that we speak.

    >>> choose(["1.0.0", "0.4.0", "9.0.0"])
    '1.0.0'

    Raises:
        InvalidArgument: we speak none of them.
    """
    offered = sorted(offered, key=order)
    known = [version for version in offered if version in SUPPORTED]
    if not known:
        raise InvalidArgument(f"CNI versions {', '.join(offered) or '(none)'}: we speak {', '.join(SUPPORTED)}")
    return known[-1]
