"""The ttrpc wire format: ten bytes of header, then a message.

::

     0        4          8      9      10
    ┌────────┬──────────┬──────┬───────┬─────────────┐
    │ length │ stream id│ type │ flags │ message ... │      length and stream id are big endian
    └────────┴──────────┴──────┴───────┴─────────────┘

A client gives each call a new odd stream id and sends a ``Request``: service, method, the payload's bytes, a time
limit, key-value metadata. The server answers on the same stream id with a ``Response``: a status and a payload.
There is no handshake, no ping and no flow control. Answers may come in any order. Streaming calls (type data) exist
in the protocol and are refused here: no service of a shim that we speak to has one.

Source: containerd/ttrpc@4b166fb PROTOCOL.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status

from minicontainerd.api.ttrpc.request_pb2 import KeyValue, Request, Response
from minicontainerd.errors import ContainerdError, InvalidArgument, ResourceExhausted, from_code

REQUEST, RESPONSE, DATA = 1, 2, 3
MAX_LENGTH = 4 << 20
"""A message may have this many bytes; the limit is the protocol's."""

_HEADER = struct.Struct(">IIBB")


@dataclass(frozen=True)
class Frame:
    """One message of *stream*; *kind* is REQUEST, RESPONSE or DATA."""

    stream: int
    kind: int
    body: bytes
    flags: int = 0

    def encode(self) -> bytes:
        """The frame's bytes.

        Raises:
            ResourceExhausted: the message is longer than the protocol allows.
        """
        if len(self.body) > MAX_LENGTH:
            raise ResourceExhausted(f"a message of {len(self.body)} bytes exceeds the maximum of {MAX_LENGTH}")
        return _HEADER.pack(len(self.body), self.stream, self.kind, self.flags) + self.body


class Decoder:
    """Turns whatever arrives into whole frames.

    >>> decoder, whole = Decoder(), Frame(1, REQUEST, b"hello").encode()
    >>> list(decoder.feed(whole[:7])), list(decoder.feed(whole[7:]))
    ([], [Frame(stream=1, kind=1, body=b'hello', flags=0)])
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add *data*, and yield every frame that is now complete.

        Raises:
            InvalidArgument: a header announces more than the protocol allows; the connection is of no use any more.
        """
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            length, stream, kind, flags = _HEADER.unpack_from(self._buffer)
            if length > MAX_LENGTH:
                raise InvalidArgument(f"a frame announces {length} bytes; ttrpc allows {MAX_LENGTH}")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield Frame(stream, kind, body, flags)


def encode_request(
    stream: int, service: str, method: str, payload: Message, metadata: Mapping[str, str], timeout_ns: int = 0
) -> bytes:
    """The frame of a call. *timeout_ns* 0 sets no limit."""
    request = Request(service=service, method=method, payload=payload.SerializeToString(), timeout_nano=timeout_ns)
    request.metadata.extend(KeyValue(key=key, value=value) for key, value in metadata.items())
    return Frame(stream, REQUEST, request.SerializeToString()).encode()


def decode_request(frame: Frame) -> Request:
    """The call inside *frame*.

    Raises:
        InvalidArgument: it is no request, or does not parse.
    """
    if frame.kind != REQUEST:
        raise InvalidArgument(f"expected a request, got a frame of type {frame.kind}")
    try:
        return Request.FromString(frame.body)
    except DecodeError as error:
        raise InvalidArgument(f"the request does not parse: {error}") from None


def encode_response(stream: int, answer: Message | ContainerdError) -> bytes:
    """The frame of an answer: a message, or the error that took its place."""
    if isinstance(answer, ContainerdError):
        response = Response(status=Status(code=answer.code, message=str(answer)))
    else:
        response = Response(payload=answer.SerializeToString())
    return Frame(stream, RESPONSE, response.SerializeToString()).encode()


def decode_response(frame: Frame) -> bytes:
    """The payload inside *frame*.

    Raises:
        ContainerdError: the kind that the other side answered with.
        InvalidArgument: it is no response, or does not parse.
    """
    if frame.kind != RESPONSE:
        raise InvalidArgument(f"expected a response, got a frame of type {frame.kind}")
    try:
        response = Response.FromString(frame.body)
    except DecodeError as error:
        raise InvalidArgument(f"the response does not parse: {error}") from None
    if response.status.code:
        raise from_code(response.status.code, response.status.message)
    return response.payload
