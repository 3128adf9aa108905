"""One client's connection: its frames sorted to their streams, and ours sent as far as there is room.

What a stream is for is decided elsewhere: for each one that a client opens, *open_stream* makes a :class:`Receiver`,
which hears of its data, its end, and its breaking off. Answers go through the :class:`Stream`.

Room works like this. A client may send 1 MiB on a stream before it has to wait; what arrives makes room again at
once, unless the receiver says that it is full. The connection as a whole never makes anybody wait. In the other
direction the client says how much room there is, and :meth:`Stream.send_data` waits for it.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Protocol, cast

import hpack

from minicontainerd.api.http2.frame import (
    ACK,
    END_HEADERS,
    END_STREAM,
    MAX_FRAME,
    MAX_WINDOW,
    WINDOW,
    Code,
    Decoder,
    Frame,
    ProtocolError,
    Setting,
    Type,
    decode_settings,
    encode,
    encode_settings,
)

STREAM_WINDOW = 1 << 20
"""What a client may send on one stream before we have taken any of it, in bytes."""

MAX_HEADERS = 64 << 10
MAX_KNOWN = 256
MAX_STREAMS = 10_000
Headers = list[tuple[str, str]]


class Receiver(Protocol):
    """Whoever a stream is for."""

    def begun(self) -> None:
        """The stream is open: from now on answers may be sent."""

    def received(self, data: bytes) -> None:
        """More data."""

    def ended(self) -> None:
        """No more data will come."""

    def broken(self) -> None:
        """The client has gone, or no longer wants an answer."""


class Stream:
    """One call, as whoever answers it sees it."""

    def __init__(self, connection: Connection, number: int, room: int) -> None:
        self.number = number
        self.room = room
        """How many bytes the client has room for."""
        self.is_full = False
        """Set, the client gets no more room; clear it with :meth:`make_room`."""
        self._taken = 0
        self._connection = connection
        self._changed = asyncio.Event()

    def send(self, *frames: tuple[int, int, bytes]) -> bool:
        """Send *frames* (type, flags, payload) at once, if there is room for the data in them; False if not."""
        data = sum(len(payload) for type, _, payload in frames if type == Type.DATA)
        if data > min(self.room, self._connection.room) or any(len(payload) > MAX_FRAME for _, _, payload in frames):
            return False
        self.room -= data
        self._connection.room -= data
        self._connection.write(b"".join(encode(type, flags, self.number, payload) for type, flags, payload in frames))
        return True

    def send_headers(self, block: bytes, *, end: bool = False) -> None:
        """Send header fields; with *end* they are the last of the stream."""
        self._connection.write(encode(Type.HEADERS, END_HEADERS | (END_STREAM if end else 0), self.number, block))
        if end:
            self._connection.forget(self)

    async def send_data(self, data: bytes) -> None:
        """Send *data*, as the client makes room for it.

        Raises:
            ConnectionResetError: the client has gone.
        """
        view = memoryview(data)
        while view:
            room = min(self.room, self._connection.room, MAX_FRAME)
            if not self._connection.has(self):
                raise ConnectionResetError("the stream is closed")
            if room <= 0 or self._connection.is_congested:
                self._changed.clear()
                await self._changed.wait()
                continue
            self.send((Type.DATA, 0, bytes(view[:room])))
            view = view[room:]

    def close(self) -> None:
        """The last frame was sent with END_STREAM."""
        self._connection.forget(self)

    def reset(self, code: Code) -> None:
        """Break it off."""
        self._connection.write(encode(Type.RST_STREAM, 0, self.number, struct.pack(">I", code)))
        self._connection.forget(self)

    def take(self, length: int) -> None:
        """*length* bytes have come; let the client send as many again, a good deal at a time."""
        self._taken += length
        if self._taken * 2 >= STREAM_WINDOW and not self.is_full:
            self.make_room()

    def make_room(self) -> None:
        """Let the client send as much again as has been taken."""
        self.is_full = False
        if self._taken and self._connection.has(self):
            self._connection.write(encode(Type.WINDOW_UPDATE, 0, self.number, struct.pack(">I", self._taken)))
            self._taken = 0

    def wake(self) -> None:
        """Whoever waits for room should look again."""
        self._changed.set()


class Connection(asyncio.Protocol):
    """One client; *open_stream* gets each new stream with its header fields, and answers who receives it."""

    def __init__(self, open_stream: Callable[[Stream, Headers], Receiver]) -> None:
        self._open_stream = open_stream
        self._decoder = Decoder()
        self._decoded: dict[bytes, Headers] = {}
        self._headers = hpack.Decoder(max_header_list_size=MAX_HEADERS)
        self._streams: dict[int, tuple[Stream, Receiver]] = {}
        self._last = 0
        self._stream_room = WINDOW  # of a new one
        self._block: tuple[Frame, bytearray] | None = None  # a header block that goes on in the next frame
        self._transport: asyncio.Transport | None = None
        self._taken = 0
        self.room = WINDOW
        self.is_congested = False
        """The kernel takes no more for now."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        settings = {Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW}
        update = encode(Type.WINDOW_UPDATE, 0, 0, struct.pack(">I", MAX_WINDOW - WINDOW))
        self.write(encode_settings(settings) + update)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                self._handle(frame)
        except ProtocolError as error:
            self.go_away(error.code, str(error))
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        for _, receiver in list(self._streams.values()):
            receiver.broken()
        self._wake_after_loss()

    def pause_writing(self) -> None:
        self.is_congested = True

    def resume_writing(self) -> None:
        self.is_congested = False
        self._wake_all()

    def has(self, stream: Stream) -> bool:
        """Whether *stream* is still open."""
        return stream.number in self._streams

    def forget(self, stream: Stream) -> None:
        """*stream* is at its end."""
        self._streams.pop(stream.number, None)
        stream.wake()

    def write(self, data: bytes) -> None:
        """Send bytes; to a client that has gone, they go nowhere."""
        if self._transport is not None:
            self._transport.write(data)

    def go_away(self, code: Code = Code.NO_ERROR, why: str = "") -> None:
        """Tell the client to open no more streams here."""
        self.write(encode(Type.GOAWAY, 0, 0, struct.pack(">II", self._last, code) + why.encode()))

    def close(self) -> None:
        """End the connection, when what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def _handle(self, frame: Frame) -> None:
        if self._block is not None and frame.type != Type.CONTINUATION:
            raise ProtocolError(Code.PROTOCOL_ERROR, "a header block was not finished")
        handler = _HANDLERS.get(frame.type)
        if handler is not None:  # what nobody knows is ignored
            handler(self, frame)

    def _data(self, frame: Frame) -> None:
        length = len(frame.payload)
        self._taken += length
        if self._taken >= MAX_WINDOW // 4:
            self.write(encode(Type.WINDOW_UPDATE, 0, 0, struct.pack(">I", self._taken)))
            self._taken = 0
        stream, receiver = self._streams.get(frame.stream, (None, None))
        if stream is None or receiver is None:
            if frame.stream > self._last:
                raise ProtocolError(Code.PROTOCOL_ERROR, "DATA on a stream that was never opened")
            return  # of one that we have ended: on its way before the client knew
        receiver.received(frame.unpadded())
        stream.take(length)
        if frame.has(END_STREAM) and self.has(stream):
            receiver.ended()

    def _begin_headers(self, frame: Frame) -> None:
        self._block = frame, bytearray(frame.unpadded())
        self._finish_headers(frame)

    def _continue_headers(self, frame: Frame) -> None:
        if self._block is None or self._block[0].stream != frame.stream:
            raise ProtocolError(Code.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block[1].extend(frame.payload)
        if len(self._block[1]) > MAX_HEADERS:
            raise ProtocolError(Code.ENHANCE_YOUR_CALM, "a header block without end")
        self._finish_headers(frame)

    def _finish_headers(self, frame: Frame) -> None:
        if not frame.has(END_HEADERS) or self._block is None:
            return
        (first, block), self._block = self._block, None
        try:  # always, also of what is not wanted: the table that both sides keep must stay the same
            headers = self._decode(bytes(block))
        except (hpack.HPACKError, ValueError) as error:
            raise ProtocolError(Code.COMPRESSION_ERROR, str(error)) from None
        if first.stream in self._streams:  # trailers: gRPC clients send none that matter
            if first.has(END_STREAM):
                self._streams[first.stream][1].ended()
            return
        if first.stream % 2 == 0 or first.stream <= self._last:
            raise ProtocolError(Code.PROTOCOL_ERROR, f"{first.stream} is no number for a new stream")
        self._last = first.stream
        stream = Stream(self, first.stream, self._stream_room)
        if len(self._streams) >= MAX_STREAMS:
            stream.reset(Code.REFUSED_STREAM)
            return
        receiver = self._open_stream(stream, headers)
        self._streams[first.stream] = stream, receiver
        receiver.begun()
        if first.has(END_STREAM) and self.has(stream):
            receiver.ended()

    def _decode(self, block: bytes) -> Headers:
        """The fields of a header block.

        Where every byte has its highest bit set there are only places in the table (RFC 7541, section 6.1). Such a
        block changes nothing, and means the same again until another one does: most calls on a connection have one.
        """
        known = self._decoded.get(block)
        if known is None:
            known = [(_text(name), _text(value)) for name, value in self._headers.decode(block, raw=True)]
            if min(block, default=0) < 0x80 or len(self._decoded) >= MAX_KNOWN:
                self._decoded.clear()
            else:
                self._decoded[block] = known
        return known

    def _reset(self, frame: Frame) -> None:
        if len(frame.payload) != 4 or frame.stream > self._last:
            raise ProtocolError(Code.PROTOCOL_ERROR, "RST_STREAM of nothing")
        stream, receiver = self._streams.pop(frame.stream, (None, None))
        if stream is not None and receiver is not None:
            receiver.broken()
            stream.wake()

    def _settings(self, frame: Frame) -> None:
        if frame.has(ACK):
            return
        for number, value in decode_settings(frame.payload):
            if number == Setting.INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW:
                    raise ProtocolError(Code.FLOW_CONTROL_ERROR, f"a window of {value} bytes")
                for stream, _ in self._streams.values():
                    stream.room += value - self._stream_room  # section 6.9.2
                self._stream_room = value
        self.write(encode(Type.SETTINGS, ACK, 0))
        self._wake_all()

    def _ping(self, frame: Frame) -> None:
        if len(frame.payload) != 8:
            raise ProtocolError(Code.FRAME_SIZE_ERROR, "PING of a wrong length")
        if not frame.has(ACK):
            self.write(encode(Type.PING, ACK, 0, frame.payload))

    def _window_update(self, frame: Frame) -> None:
        if len(frame.payload) != 4:
            raise ProtocolError(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE of a wrong length")
        more = int.from_bytes(frame.payload, "big") & MAX_WINDOW
        if frame.stream == 0:
            self.room += more
            self._wake_all()
        elif frame.stream in self._streams:
            stream = self._streams[frame.stream][0]
            stream.room += more
            stream.wake()
        if not more or self.room > MAX_WINDOW:
            raise ProtocolError(Code.FLOW_CONTROL_ERROR, f"{more} bytes more room")

    def _push_promise(self, frame: Frame) -> None:
        raise ProtocolError(Code.PROTOCOL_ERROR, "a client promises nothing")

    def _wake_all(self) -> None:
        for stream, _ in list(self._streams.values()):
            stream.wake()

    def _wake_after_loss(self) -> None:
        waiting, self._streams = self._streams, {}
        for stream, _ in waiting.values():
            stream.wake()


_HANDLERS: dict[int, Callable[[Connection, Frame], None]] = {
    Type.DATA: Connection._data,
    Type.HEADERS: Connection._begin_headers,
    Type.RST_STREAM: Connection._reset,
    Type.SETTINGS: Connection._settings,
    Type.PUSH_PROMISE: Connection._push_promise,
    Type.PING: Connection._ping,
    Type.WINDOW_UPDATE: Connection._window_update,
    Type.CONTINUATION: Connection._continue_headers,
}


def _text(field: bytes | str) -> str:
    return field if isinstance(field, str) else field.decode("latin-1")


def encode_headers(fields: Headers) -> bytes:
    """A header block that leaves the client's table alone: every field in full (RFC 7541, section 6.2.2).

    >>> encode_headers([(":status", "200")])
    b'\\x00\\x07:status\\x03200'
    """
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def _string(text: str) -> bytes:
    """A length, in seven bits and as many bytes more as it takes (section 5.1), and the bytes."""
    data = text.encode("latin-1")
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, length = len(data) - 127, bytearray(b"\x7f")
    while rest >= 128:
        length.append(rest % 128 + 128)
        rest //= 128
    length.append(rest)
    return bytes(length) + data
