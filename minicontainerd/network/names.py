"""Names of networks and containers, which end up in paths of files and in rules of the firewall.

A file of its own, and without regular expressions, because every plugin needs it and plugins are started often.
Source: cni@3f51e88 SPEC.md, pkg/utils/utils.go.
"""

from __future__ import annotations

from typing import TypeGuard

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
