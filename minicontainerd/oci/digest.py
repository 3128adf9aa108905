"""Digests: the name of some bytes, made from the bytes, so that whoever has the name can check what they got.

A digest is written ``algorithm:encoded``. This project makes ``sha256`` only, and checks ``sha256`` and ``sha512``::

    sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855     the empty string
    └alg─┘ └─────────────── lower-case hexadecimal, 64 or 128 digits ──────────┘

Source: image-spec v1.1.1 descriptor.md#digests. The words of the errors: go-digest v1.0.0 digest.go.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from minicontainerd.errors import InvalidArgument

LENGTHS = {"sha256": 64, "sha512": 128}  # algorithm: hexadecimal digits

_GRAMMAR = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_HEX = re.compile(r"[a-f0-9]+")


def validate(digest: str) -> str:
    """Return *digest* if it is one that can be checked here.

    >>> validate("sha256:" + 64 * "a") == "sha256:" + 64 * "a"
    True

    Raises:
        InvalidArgument: not ``algorithm:encoded``, an algorithm that is not known, or the wrong number of digits.
    """
    if not _GRAMMAR.fullmatch(digest):
        raise InvalidArgument(f"{digest!r}: invalid checksum digest format")
    algorithm, encoded = digest.split(":", 1)
    if algorithm not in LENGTHS:
        raise InvalidArgument(f"{digest!r}: unsupported digest algorithm")
    if len(encoded) != LENGTHS[algorithm]:
        raise InvalidArgument(f"{digest!r}: invalid checksum digest length")
    if not _HEX.fullmatch(encoded):
        raise InvalidArgument(f"{digest!r}: invalid checksum digest format")
    return digest


def algorithm(digest: str) -> str:
    """The part before the colon of a valid *digest*."""
    return validate(digest).split(":", 1)[0]


def encoded(digest: str) -> str:
    """The hexadecimal part of a valid *digest*.

    >>> encoded(of(b""))[:8]
    'e3b0c442'
    """
    return validate(digest).split(":", 1)[1]


def hasher(digest: str = "sha256:") -> Any:
    """A new hashlib object that computes digests of the kind *digest* is."""
    return hashlib.new(digest.split(":", 1)[0])


def of(data: bytes) -> str:
    """The sha256 digest of *data*."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def matches(digest: str, data: bytes) -> bool:
    """Is *digest* the digest of *data*? Works for every algorithm of :data:`LENGTHS`."""
    return bool(hashlib.new(algorithm(digest), data).hexdigest() == encoded(digest))
