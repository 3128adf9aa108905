"""Names of networks, containers and interfaces, which end up in paths of files and in rules of the firewall.

A file of its own, and without regular expressions, because every plugin needs it and plugins are started often.
Source: cni@3f51e88 SPEC.md, pkg/utils/utils.go; for interfaces dev_valid_name in the kernel's net/core/dev.c.
"""

from __future__ import annotations

from typing import TypeGuard

from ..errors import InvalidArgument

_INSIDE = frozenset("_.-")


def is_name(text: object) -> TypeGuard[str]:
    """Whether *text* can be the name of a network or the id of a container.

    >>> [is_name(text) for text in ("web-1", "", "-web", "../web", "wéb")]
    [True, False, False, False, False]
    """
    return (
        isinstance(text, str)
        and text.isascii()
        and text[:1].isalnum()
        and all(letter.isalnum() or letter in _INSIDE for letter in text)
    )


def check_ifname(name: str) -> None:
    """Refuse a *name* that the kernel would not take for an interface.

    Raises:
        InvalidArgument: it is empty, longer than 15 bytes, or has a slash, a colon or space in it.
    """
    if not 0 < len(name.encode()) < 16 or name in (".", "..") or any(c in "/:\0" or c.isspace() for c in name):
        raise InvalidArgument(f"{name!r} cannot be the name of an interface: 1 to 15 letters, none of them '/' or ':'")
