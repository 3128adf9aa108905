"""Frames: what travels, in both directions.

::

    length 24 bits | type 8 | flags 8 | stream 32 | payload of that length        (RFC 9113, section 4.1)
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first of all (section 3.4)."""

MAX_FRAME = 16384
"""The largest payload that both sides take without having said more (section 4.2)."""

WINDOW = 65535
"""How much each side may send at first, per stream and in all (section 6.9.2)."""

MAX_WINDOW = (1 << 31) - 1


class Type(enum.IntEnum):
    """Section 6."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(enum.IntEnum):
    """Section 6.5.2, those that matter here."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5


class Code(enum.IntEnum):
    """Why a stream or a connection ends (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20


class ProtocolError(Exception):
    """The client broke a rule: the connection ends with *code*."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(why)
        self.code = code


class Frame(NamedTuple):
    """*type* may be a number that nobody knows; such frames are ignored (section 4.1)."""

    type: int
    flags: int
    stream: int
    payload: bytes

    def has(self, flag: int) -> bool:
        return bool(self.flags & flag)

    def unpadded(self) -> bytes:
        """The payload of DATA or HEADERS without padding and priority (sections 6.1, 6.2).

        Raises:
            ProtocolError: there is less of it than it says.
        """
        start, end = 0, len(self.payload)
        if self.has(PADDED):
            if not end:
                raise ProtocolError(Code.FRAME_SIZE_ERROR, "a padded frame without a length of the padding")
            start, end = 1, end - self.payload[0]
        if self.type == Type.HEADERS and self.has(WITH_PRIORITY):
            start += 5
        if start > end:
            raise ProtocolError(Code.PROTOCOL_ERROR, "more padding than payload")
        return self.payload[start:end]


def encode(type: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as bytes.

    >>> encode(Type.PING, ACK, 0, b"12345678").hex()
    '0000080601000000003132333435363738'
    """
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", type, flags, stream) + payload


def encode_settings(settings: dict[Setting, int]) -> bytes:
    """A SETTINGS frame (section 6.5)."""
    return encode(Type.SETTINGS, 0, 0, b"".join(struct.pack(">HI", *setting) for setting in settings.items()))


def decode_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """Number and value of each setting.

    Raises:
        ProtocolError: the payload is no list of them.
    """
    if len(payload) % 6:
        raise ProtocolError(Code.FRAME_SIZE_ERROR, "SETTINGS of a wrong length")
    return struct.iter_unpack(">HI", payload)


class Decoder:
    """Bytes in, frames out; the preface is expected first."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._greeted = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Every frame that *data* completes.

        Raises:
            ProtocolError: this is not HTTP/2, or a frame is too long.
        """
        self._buffer += data
        if not self._greeted:
            if not self._buffer.startswith(PREFACE[: len(self._buffer)]):
                raise ProtocolError(Code.PROTOCOL_ERROR, "no HTTP/2 preface")
            if len(self._buffer) < len(PREFACE):
                return
            del self._buffer[: len(PREFACE)]
            self._greeted = True
        position = 0
        while len(self._buffer) - position >= 9:
            length = int.from_bytes(self._buffer[position : position + 3], "big")
            if length > MAX_FRAME:
                raise ProtocolError(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            end = position + 9 + length
            if len(self._buffer) < end:
                break
            type, flags, stream = struct.unpack_from(">BBI", self._buffer, position + 3)
            yield Frame(type, flags, stream & MAX_WINDOW, bytes(self._buffer[position + 9 : end]))
            position = end
        del self._buffer[:position]
