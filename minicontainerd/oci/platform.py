"""Platforms: which machine an image is for, and which of several images suits this machine best.

A platform is written ``os[(osversion[+feature]…)][/architecture[/variant]]``, or just an operating system or an
architecture, and the rest is filled in from this host::

    linux/amd64     linux/arm/v7     arm64     windows(10.0.17763)/amd64

The same machine has many names, so :func:`normalise` comes before every comparison: ``x86_64`` is ``amd64``,
``aarch64`` and ``arm64/v8`` are ``arm64``. And a machine runs more than its own kind: :func:`vector` lists what an
``arm64`` can run, best first (``v8``, then 32-bit ``arm/v8`` down to ``arm/v5``), and :func:`best` picks from an index.

Left out on purpose: matching of Windows versions, which no Linux host needs.
Source: containerd@301026e vendor/github.com/containerd/platforms/{platforms,database,compare}.go.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar
from urllib.parse import unquote

import msgspec

from minicontainerd.errors import InvalidArgument

_JSON_NAMES = {"os_version": "os.version", "os_features": "os.features"}


class Platform(msgspec.Struct, frozen=True, omit_defaults=True, rename=_JSON_NAMES):
    """The ``platform`` object of a descriptor; also the first fields of an image config."""

    architecture: str = ""
    os: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    variant: str = ""

    def __str__(self) -> str:
        return format(self)


# fmt: off
_KNOWN_OS = frozenset((
    "aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux", "nacl", "netbsd",
    "openbsd", "plan9", "solaris", "windows", "zos",
))
_KNOWN_ARCHITECTURES = frozenset((
    "386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "ppc64", "ppc64le", "loong64", "mips", "mipsle",
    "mips64", "mips64le", "mips64p32", "mips64p32le", "ppc", "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64",
    "wasm",
))
# fmt: on
_OS = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?")
_PART = re.compile(r"[A-Za-z0-9_.-]+")
_ARM = {"": "v7", "7": "v7", "5": "v5", "6": "v6", "8": "v8"}


def host() -> Platform:
    """The platform of this host, from uname(2)."""
    machine = os.uname().machine
    if machine.startswith("armv"):  # armv7l, armv6l: the variant is in the name
        return Platform(os="linux", architecture="arm", variant=f"v{machine[4]}")
    return normalise(Platform(os="linux", architecture="386" if re.fullmatch("i[3-6]86", machine) else machine))


def _architecture(architecture: str, variant: str) -> tuple[str, str]:
    architecture, variant = architecture.lower(), variant.lower()
    match architecture:
        case "i386":
            return "386", ""
        case "x86_64" | "x86-64" | "amd64":
            return "amd64", "" if variant == "v1" else variant
        case "aarch64" | "arm64":
            return "arm64", {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"}.get(variant, variant)
        case "armhf":
            return "arm", "v7"
        case "armel":
            return "arm", "v6"
        case "arm":
            return "arm", _ARM.get(variant, variant)
    return architecture, variant


def normalise(platform: Platform) -> Platform:
    """The one spelling that is compared.

    >>> str(normalise(Platform(os="Linux", architecture="aarch64", variant="v8")))
    'linux/arm64'
    """
    system = platform.os.lower() or "linux"
    architecture, variant = _architecture(platform.architecture, platform.variant)
    return Platform(
        os="darwin" if system == "macos" else system,
        architecture=architecture,
        variant=variant,
        os_version=platform.os_version,
        os_features=tuple(sorted(set(platform.os_features))),
    )


def parse(text: str) -> Platform:
    """Read a platform specifier; what is missing comes from this host.

    >>> [str(parse(text)) for text in ("linux/armhf/v7", "linux/x86_64", "linux/arm64/8")]
    ['linux/arm/v7', 'linux/amd64', 'linux/arm64/v8']

    Raises:
        InvalidArgument: the message names the part that is wrong.
    """
    if "*" in text:
        raise InvalidArgument(f'"{text}": wildcards not yet supported')
    first, *others = text.split("/", 3)
    found = _OS.fullmatch(first)
    if found is None:
        raise InvalidArgument(f'"{first}" is an invalid OS component of "{text}"')
    for part in others:
        if not _PART.fullmatch(part):
            raise InvalidArgument(f'"{part}" is an invalid component of "{text}"')
    features = tuple(map(unquote, (found[3] or "").split("+")[1:]))
    whole = Platform(os=normalise(Platform(os=found[1])).os, os_version=unquote(found[2] or ""), os_features=features)
    if not others:
        return _complete(whole, text)
    if len(others) > 2:
        raise InvalidArgument(f'"{text}": cannot parse platform specifier')
    architecture, variant = _architecture(others[0], "".join(others[1:]))
    if len(others) == 1 and (architecture, variant) == ("arm", "v7"):
        variant = ""  # it was not written, and v7 is what an arm without variant means
    if len(others) == 2 and (architecture, variant) == ("arm64", ""):
        variant = "v8"
    return msgspec.structs.replace(whole, architecture=architecture, variant=variant)


def _complete(named: Platform, text: str) -> Platform:
    """The platform of *text*, a single word: an operating system, which *named* has, or else an architecture."""
    if named.os in _KNOWN_OS:
        here = host()
        variant = here.variant if here.architecture == "arm" and here.variant != "v7" else ""
        return msgspec.structs.replace(named, architecture=here.architecture, variant=variant)
    architecture, variant = _architecture(text, "")
    if architecture not in _KNOWN_ARCHITECTURES:
        raise InvalidArgument(f'"{text}": unknown operating system or architecture')
    variant = "" if (architecture, variant) == ("arm", "v7") else variant
    return Platform(os="linux", architecture=architecture, variant=variant)


def format(platform: Platform) -> str:
    """``os/architecture/variant``, without what is empty; ``unknown`` without an operating system."""
    if not platform.os:
        return "unknown"
    return "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)


_ARM64_BEFORE_9 = 5  # v9.n has all of v8.(n+5)


def vector(platform: Platform) -> list[Platform]:
    """Everything a host of this *platform* can run, best first.

    >>> [str(p) for p in vector(parse("linux/amd64/v2"))]
    ['linux/amd64/v2', 'linux/amd64/v1', 'linux/386']
    >>> [str(p) for p in vector(parse("linux/arm64"))]
    ['linux/arm64/v8', 'linux/arm/v8', 'linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5']
    """
    wanted = normalise(platform)

    def like(architecture: str, variant: str = "") -> Platform:
        return msgspec.structs.replace(wanted, architecture=architecture, variant=variant)

    def down(architecture: str, lowest: int) -> list[Platform]:
        number = wanted.variant[1:]
        below = range(int(number) - 1, lowest - 1, -1) if number.isdecimal() else ()
        return [wanted, *(like(architecture, f"v{n}") for n in below)]

    match wanted.architecture:
        case "amd64":
            return [*down("amd64", 1), like("386")]
        case "arm":
            return down("arm", 5)
        case "arm64":
            variants = _arm64_variants(wanted.variant or "v8")
            narrow = [like("arm", f"v{n}") for n in range(8, 4, -1)]  # there is no 32-bit v9
            return [*(like("arm64", variant) for variant in variants), *narrow] if variants else [wanted]
    return [wanted]


def _arm64_variants(variant: str) -> list[str]:
    found = re.fullmatch(r"v(8|9)(?:\.(\d))?", variant)
    if not found or (found[1] == "9" and int(found[2] or 0) > 7):
        return []
    minor = int(found[2] or 0)
    ladder = [("9", n) for n in range(minor, -1, -1)] if found[1] == "9" else []
    ladder += [("8", n) for n in range(min(minor + _ARM64_BEFORE_9, 9) if ladder else minor, -1, -1)]
    return [f"v{major}.{n}" if n else f"v{major}" for major, n in ladder]


def rank(wanted: Sequence[Platform], offered: Platform) -> tuple[int, int] | None:
    """How well *offered* suits: its place in *wanted*, then more features first. Smaller is better; None: never."""
    offer = normalise(offered)
    for place, want in enumerate(map(normalise, wanted)):
        same = (want.os, want.architecture, want.variant) == (offer.os, offer.architecture, offer.variant)
        if same and set(offer.os_features) <= set(want.os_features):
            return place, -len(offer.os_features)
    return None


class _HasPlatform(Protocol):
    @property
    def platform(self) -> Platform | None: ...


T = TypeVar("T", bound=_HasPlatform)


def best(wanted: Platform, offered: Iterable[T]) -> list[T]:
    """Those of *offered* that a host of platform *wanted* can run, best first; what names no platform comes last."""
    ladder = vector(wanted)
    ranked = [(rank(ladder, one.platform) if one.platform else (len(ladder), 0), one) for one in offered]
    return [one for place, one in sorted(((p, o) for p, o in ranked if p is not None), key=lambda pair: pair[0])]
