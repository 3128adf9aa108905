"""What travels beside a request: the namespace it means, and the lease that what it makes belongs to.

gRPC carries both as metadata, ttrpc the namespace as a key-value pair. The rules for names are here too, for a
namespace, a container id and each part of an event's topic are all *identifiers*.

Source: containerd@301026e pkg/namespaces/{context,grpc,ttrpc}.go, core/leases/grpc.go,
pkg/identifiers/validate.go, pkg/labels/validate.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from minicontainerd.errors import FailedPrecondition, InvalidArgument

NAMESPACE = "containerd-namespace"
NAMESPACE_TTRPC = "containerd-namespace-ttrpc"
LEASE = "containerd-lease"

MAX_IDENTIFIER = 76
MAX_LABEL = 4096
_PATTERN = "^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"
_IDENTIFIER = re.compile(_PATTERN.removesuffix("$") + r"\Z")


def identifier(text: str) -> str:
    """*text* again, if it is an identifier: letters and digits, divided by single ``.``, ``_`` or ``-``.

    Raises:
        InvalidArgument: in containerd's words.
    """
    if not text:
        raise InvalidArgument("identifier must not be empty")
    if len(text) > MAX_IDENTIFIER:
        raise InvalidArgument(f'identifier "{text}" greater than maximum length ({MAX_IDENTIFIER} characters)')
    if not _IDENTIFIER.match(text):
        raise InvalidArgument(f'identifier "{text}" must match {_PATTERN}')
    return text


def namespace(metadata: Mapping[str, str], key: str = NAMESPACE) -> str:
    """The namespace that a request names.

    Raises:
        FailedPrecondition: it names none.
        InvalidArgument: it is no identifier.
    """
    name = metadata.get(key, "")
    if not name:
        raise FailedPrecondition("namespace is required")
    try:
        return identifier(name)
    except InvalidArgument as error:
        raise InvalidArgument(f"namespace validation: {error}") from None


def labels(found: Mapping[str, str]) -> dict[str, str]:
    """*found* again, if every label is short enough: key and value together at most 4096 bytes.

    Raises:
        InvalidArgument: naming the label, or as much of it as fits.
    """
    for key, value in found.items():
        length = len(key.encode()) + len(value.encode())
        if length > MAX_LABEL:
            shown = key if len(key) <= 64 else key[:64]
            raise InvalidArgument(
                f"label key and value length ({length} bytes) greater than maximum size ({MAX_LABEL} bytes), "
                f"key: {shown}"
            )
    return dict(found)
