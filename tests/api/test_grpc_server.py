"""Our gRPC server, asked by the library that everybody else uses; and by clients that break the rules."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from minicontainerd.api.grpc_server import Limits, Method, Server
from minicontainerd.api.http2.frame import MAX_WINDOW, PREFACE, Decoder, Frame, ProtocolError, Type, encode
from minicontainerd.errors import NotFound

MAX = 8 << 20


class Echo:
    """Methods of every shape; what they saw is kept."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.finished = threading.Event()

    async def unary(self, request: BytesValue, metadata: Mapping[str, str]) -> BytesValue:
        if request.value == b"missing":
            raise NotFound('image "ü%\n": not found')
        if request.value == b"broken":
            raise KeyError("a fault of ours")
        if request.value == b"long":
            return BytesValue(value=bytes(MAX))
        if request.value == b"metadata":
            return BytesValue(value=metadata.get("containerd-namespace", "").encode())
        return request

    async def slow(self, request: BytesValue, metadata: Mapping[str, str]) -> BytesValue:
        await asyncio.sleep(0.3)
        self.finished.set()
        return request

    async def forever(self, request: BytesValue, metadata: Mapping[str, str]) -> BytesValue:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request

    async def count(self, request: BytesValue, metadata: Mapping[str, str]) -> AsyncIterator[BytesValue]:
        for number in range(int(request.value)):
            yield BytesValue(value=b"x" * 100_000 + str(number).encode())

    async def add(self, requests: AsyncIterator[BytesValue], metadata: Mapping[str, str]) -> BytesValue:
        total = 0
        async for request in requests:
            total += len(request.value)
        return BytesValue(value=str(total).encode())

    async def both(self, requests: AsyncIterator[BytesValue], metadata: Mapping[str, str]) -> AsyncIterator[BytesValue]:
        async for request in requests:
            yield request


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def path(tmp_path: Path, echo: Echo) -> Iterator[str]:
    """A server in a thread of its own; the path of its socket."""

    def method(name: str, **shape: bool) -> Method:
        return Method(f"t.Echo.{name}", getattr(echo, name), BytesValue.FromString, **shape)

    methods = {
        "/t.Echo/unary": method("unary"),
        "/t.Echo/slow": method("slow"),
        "/t.Echo/forever": method("forever", interruptible=True),
        "/t.Echo/count": method("count", server_streams=True),
        "/t.Echo/add": method("add", client_streams=True),
        "/t.Echo/both": method("both", client_streams=True, server_streams=True),
    }
    server, loop = Server(methods, Limits(MAX, MAX)), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(str(tmp_path / "socket")), loop).result()
    yield str(tmp_path / "socket")
    asyncio.run_coroutine_threadsafe(server.stop(0.1), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def channel(path: str) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", MAX), ("grpc.max_send_message_length", 2 * MAX)]
    with grpc.insecure_channel(f"unix:{path}", options=options) as channel:
        yield channel


def unary(channel: grpc.Channel, name: str = "unary") -> Any:
    return channel.unary_unary(f"/t.Echo/{name}", BytesValue.SerializeToString, BytesValue.FromString)


def test_a_call_is_answered(channel: grpc.Channel) -> None:
    call = unary(channel)
    assert call(BytesValue(value=b"hello")).value == b"hello"
    assert call(BytesValue()).value == b""
    assert call(BytesValue(value=b"metadata"), metadata=[("containerd-namespace", "ns")]).value == b"ns"


@pytest.mark.parametrize(
    ("value", "code", "words"),
    [
        (b"missing", grpc.StatusCode.NOT_FOUND, 'image "ü%\n": not found'),
        (b"broken", grpc.StatusCode.INTERNAL, "KeyError: 'a fault of ours'"),
    ],
)
def test_an_error_keeps_its_code_and_words(
    channel: grpc.Channel, value: bytes, code: grpc.StatusCode, words: str
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        unary(channel)(BytesValue(value=value))
    assert raised.value.code() == code
    assert words in raised.value.details()
    assert unary(channel)(BytesValue(value=b"next")).value == b"next"


def test_what_is_not_there_or_cannot_be_read_is_said(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        unary(channel, "nobody")(BytesValue())
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/t.Echo/unary")(b"\xff\xff\xff")
    assert raised.value.code() == grpc.StatusCode.INTERNAL


def test_large_messages_wait_for_room_in_both_directions(channel: grpc.Channel) -> None:
    value = bytes(range(256)) * (MAX // 256 - 1)
    assert unary(channel)(BytesValue(value=value)).value == value
    with pytest.raises(grpc.RpcError) as raised:
        unary(channel)(BytesValue(value=bytes(MAX + 1)))
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_an_answer_that_is_too_long_is_not_sent(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        unary(channel)(BytesValue(value=b"long"))
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"trying to send message larger than max ({MAX + 5} vs. {MAX})" in raised.value.details()


def test_streams(channel: grpc.Channel) -> None:
    count = channel.unary_stream("/t.Echo/count", BytesValue.SerializeToString, BytesValue.FromString)
    found = [response.value for response in count(BytesValue(value=b"30"))]
    assert [value[100_000:] for value in found] == [str(number).encode() for number in range(30)]
    assert list(count(BytesValue(value=b"0"))) == []
    add = channel.stream_unary("/t.Echo/add", BytesValue.SerializeToString, BytesValue.FromString)
    assert add(iter([BytesValue(value=bytes(700_000))] * 20)).value == b"14000000"
    both = channel.stream_stream("/t.Echo/both", BytesValue.SerializeToString, BytesValue.FromString)
    values = [b"a", b"", b"x" * 500_000] * 5
    assert [response.value for response in both(BytesValue(value=value) for value in values)] == values


def test_many_calls_at_once(channel: grpc.Channel) -> None:
    call = unary(channel)
    with ThreadPoolExecutor(16) as pool:
        values = [str(number).encode() * 1000 for number in range(300)]
        assert [answer.value for answer in pool.map(lambda value: call(BytesValue(value=value)), values)] == values


def test_a_client_that_leaves_stops_what_only_waits_and_nothing_else(channel: grpc.Channel, echo: Echo) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        unary(channel, "forever")(BytesValue(), timeout=0.1)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert echo.cancelled.wait(5)
    with pytest.raises(grpc.RpcError):
        unary(channel, "slow")(BytesValue(), timeout=0.05)
    assert echo.finished.wait(5)


def talk(path: str, data: bytes) -> list[Frame]:
    """Send *data* and read until the server closes, or for a while; every frame that came."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect(path)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(1 << 16):
            received += chunk
    return list(Decoder().feed(PREFACE + received))


SETTINGS = PREFACE + encode(Type.SETTINGS, 0, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        SETTINGS + encode(Type.SETTINGS, 0, 0, b"12345"),
        SETTINGS + encode(Type.DATA, 0, 1, b"never opened"),
        SETTINGS + encode(Type.HEADERS, 4, 2, b"\x82"),
        SETTINGS + encode(Type.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff"),
        SETTINGS + encode(Type.HEADERS, 0, 1, b"\x82") + encode(Type.PING, 0, 0, bytes(8)),
        SETTINGS + encode(Type.HEADERS, 0, 1, b"") + encode(Type.CONTINUATION, 0, 1, bytes(16000)) * 5,
        SETTINGS + encode(Type.CONTINUATION, 4, 1, b"\x82"),
        SETTINGS + encode(Type.HEADERS, 0xC, 1, b"\xff\x82"),
        SETTINGS + encode(Type.WINDOW_UPDATE, 0, 0, struct.pack(">I", MAX_WINDOW)),
        SETTINGS + encode(Type.WINDOW_UPDATE, 0, 0, bytes(4)),
        SETTINGS + encode(Type.RST_STREAM, 0, 7, bytes(4)),
        SETTINGS + encode(Type.PUSH_PROMISE, 4, 1, bytes(8)),
        SETTINGS + encode(Type.PING, 0, 0, b"short"),
        SETTINGS + b"\xff\xff\xff" + bytes(6),
    ],
)
def test_who_breaks_the_rules_is_sent_away(path: str, channel: grpc.Channel, data: bytes) -> None:
    assert talk(path, data)[-1].type == Type.GOAWAY
    assert unary(channel)(BytesValue(value=b"others do not notice")).value == b"others do not notice"


def test_what_nobody_knows_is_ignored(path: str) -> None:
    unknown = encode(77, 0xFF, 5, b"?") + encode(Type.PRIORITY, 0, 3, bytes(5))
    frames = talk(path, SETTINGS + unknown + encode(Type.PING, 0, 0, b"12345678"))
    assert (frames[-1].type, frames[-1].payload) == (Type.PING, b"12345678")


def test_what_is_not_grpc_is_answered_with_415(path: str) -> None:
    frames = talk(path, SETTINGS + encode(Type.HEADERS, 5, 1, b"\x83\x86\x84"))
    assert [frame.type for frame in frames if frame.stream == 1] == [Type.HEADERS]
    assert b"415" in frames[-1].payload


def test_frames_may_come_in_pieces() -> None:
    data, decoder = SETTINGS + encode(Type.PING, 0, 0, b"12345678"), Decoder()
    found = [frame for byte in data for frame in decoder.feed(bytes([byte]))]
    assert [frame.type for frame in found] == [Type.SETTINGS, Type.PING]
    with pytest.raises(ProtocolError):
        list(Decoder().feed(b"PRI ? HTTP"))
