"""Mounts as messages, and back."""

from __future__ import annotations

from collections.abc import Iterable

from minicontainerd.api.types.mount_pb2 import Mount as Message
from minicontainerd.oci.mount import Mount


def to_wire(mounts: Iterable[Mount]) -> list[Message]:
    """As messages."""
    return [Message(type=each.type, source=each.source, target=each.target, options=each.options) for each in mounts]


def from_wire(mounts: Iterable[Message]) -> tuple[Mount, ...]:
    """The reverse of :func:`to_wire`."""
    return tuple(Mount(each.type, each.source, each.target, tuple(each.options)) for each in mounts)
