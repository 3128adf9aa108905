"""ttrpc: frames whole or in pieces, and calls over a real socket."""

import asyncio
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from minicontainerd.api.runtime.task.v3.shim_pb2 import StateRequest, StateResponse
from minicontainerd.api.ttrpc import frame
from minicontainerd.api.ttrpc.client import Client
from minicontainerd.api.ttrpc.server import Server
from minicontainerd.errors import DeadlineExceeded, InvalidArgument, NotFound, ResourceExhausted, Unavailable

FRAMES = st.builds(frame.Frame, st.integers(0, 2**32 - 1), st.integers(0, 255), st.binary(max_size=64))
SERVICE = "containerd.task.v3.Task"


@given(st.lists(FRAMES, max_size=5), st.integers(1, 7))
def test_frames_come_back_however_the_bytes_are_cut(frames: list[frame.Frame], size: int) -> None:
    wire = b"".join(each.encode() for each in frames)
    decoder = frame.Decoder()
    found = [each for start in range(0, len(wire), size) for each in decoder.feed(wire[start : start + size])]
    assert found == frames


def test_the_header_is_the_protocols() -> None:
    assert frame.Frame(3, frame.RESPONSE, b"ab").encode() == b"\0\0\0\x02\0\0\0\x03\x02\0ab"


def test_a_frame_too_long_is_refused_both_ways() -> None:
    with pytest.raises(ResourceExhausted):
        frame.Frame(1, 1, b"x" * (frame.MAX_LENGTH + 1)).encode()
    with pytest.raises(InvalidArgument):
        list(frame.Decoder().feed(b"\xff" * 10))


@given(st.binary(max_size=64))
def test_hostile_bodies_are_refused_not_crashed_on(body: bytes) -> None:
    for kind, decode in ((frame.REQUEST, frame.decode_request), (frame.RESPONSE, frame.decode_response)):
        try:
            decode(frame.Frame(1, kind, body))
        except Exception as error:
            assert type(error).__module__ == "minicontainerd.errors"


async def _state(request: StateRequest, metadata: dict[str, str]) -> Message:
    if request.id == "slow":
        await asyncio.sleep(60)
    if request.id != "c":
        raise NotFound(f"container {request.id}")
    return StateResponse(id=request.id, bundle=metadata["containerd-namespace-ttrpc"])


async def _with_server(path: Path) -> None:
    server = Server()
    server.add(SERVICE, "State", StateRequest, _state)
    await server.start(str(path))
    client = await Client.connect(str(path))

    async def state(name: str, timeout: float | None = None) -> StateResponse:
        metadata = {"containerd-namespace-ttrpc": "ns"}
        return await client.call(SERVICE, "State", StateRequest(id=name), StateResponse, metadata, timeout)

    assert (await state("c")).bundle == "ns"
    with pytest.raises(NotFound, match="container x"):
        await state("x")
    with pytest.raises(DeadlineExceeded):
        await state("slow", timeout=0.01)
    with pytest.raises(Exception, match="is not served here"):
        await client.call(SERVICE, "Wait", Empty(), Empty, {})
    waiting = asyncio.create_task(state("slow"))
    await asyncio.sleep(0.01)
    await server.stop()
    with pytest.raises(Unavailable):
        await waiting
    assert client.closed.is_set()
    await client.close()


def test_calls_over_a_socket(tmp_path: Path) -> None:
    asyncio.run(_with_server(tmp_path / "s"))


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="[Nn]o such file"):
        asyncio.run(Client.connect(str(tmp_path / "none")))
