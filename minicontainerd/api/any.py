"""``Any``, as containerd writes it: the bare name of the type, and JSON for the types that have no protobuf.

protobuf's own ``Any.Pack`` writes ``type.googleapis.com/containerd.events.TaskExit`` and its ``Unpack`` insists on
the slash. containerd's typeurl writes ``containerd.events.TaskExit`` alone. So the library's helpers are never used.

Five types are JSON inside: the OCI runtime spec and its parts. Their names start with ``types.containerd.io/``.
Source: containerd@301026e core/runtime/typeurl.go; vendor/github.com/containerd/typeurl/v2/types.go.
"""

from __future__ import annotations

import json
from typing import Any as Json
from typing import TypeVar

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message

from minicontainerd.errors import InvalidArgument

_RUNTIME_SPEC = "types.containerd.io/opencontainers/runtime-spec/1/"
SPEC = _RUNTIME_SPEC + "Spec"
PROCESS = _RUNTIME_SPEC + "Process"

M = TypeVar("M", bound=Message)


def pack(message: Message) -> Any:
    """Wrap *message* under the bare name of its type.

    >>> from google.protobuf.empty_pb2 import Empty
    >>> pack(Empty()).type_url
    'google.protobuf.Empty'
    """
    return Any(type_url=message.DESCRIPTOR.full_name, value=message.SerializeToString())


def pack_json(type_url: str, value: Json) -> Any:
    """Wrap *value* as JSON under *type_url*, one of the constants above."""
    return Any(type_url=type_url, value=json.dumps(value, separators=(",", ":")).encode())


def type_name(wrapped: Any) -> str:
    """The name of the type inside, whether or not somebody wrote a prefix before it."""
    return wrapped.type_url.rpartition("/")[2] if not is_json(wrapped) else wrapped.type_url


def is_json(wrapped: Any) -> bool:
    """Whether the value is JSON and not protobuf."""
    return "/runtime-spec/1/" in wrapped.type_url


def unpack(wrapped: Any, kind: type[M]) -> M:
    """The message inside, which must be of type *kind*.

    Raises:
        InvalidArgument: it is of another type, or its bytes do not parse.
    """
    if type_name(wrapped) != kind.DESCRIPTOR.full_name:
        raise InvalidArgument(f"expected a value of type {kind.DESCRIPTOR.full_name}, got {wrapped.type_url!r}")
    try:
        return kind.FromString(wrapped.value)
    except DecodeError as error:
        raise InvalidArgument(f"a value of type {wrapped.type_url} does not parse: {error}") from None


def unpack_json(wrapped: Any) -> Json:
    """The JSON value inside.

    Raises:
        InvalidArgument: it is not JSON.
    """
    try:
        return json.loads(wrapped.value)
    except ValueError as error:
        raise InvalidArgument(f"a value of type {wrapped.type_url!r} is not JSON: {error}") from None


def unpack_known(wrapped: Any) -> Message | None:
    """The message inside if this process has its type loaded, else None."""
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(type_name(wrapped))
        return message_factory.GetMessageClass(descriptor).FromString(wrapped.value)
    except (KeyError, DecodeError):
        return None
