"""The client against our own daemon: each service once, through a real socket."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicontainerd.api.services.images.v1.images_pb2 import Image
from minicontainerd.api.services.leases.v1.leases_pb2 import Resource
from minicontainerd.api.types.descriptor_pb2 import Descriptor
from minicontainerd.client import Client
from minicontainerd.client.channel import Channel
from minicontainerd.errors import (
    AlreadyExists,
    ContainerdError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    Unavailable,
    Unimplemented,
)
from minicontainerd.oci import digest as digests


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("daemon")
    flags = ["--address", f"{folder}/s", "--root", f"{folder}/root", "--state", f"{folder}/state"]
    program = Path(sys.executable).parent / "minicontainerd"
    with open(folder / "log", "wb") as log:
        daemon = subprocess.Popen([str(program), *flags], stderr=log)
    client = Client(f"{folder}/s", "tests")
    try:
        for _ in range(200):
            try:
                client.version()
                break
            except Unavailable:
                time.sleep(0.05)
        yield client
    finally:
        client.close()
        daemon.terminate()
        assert daemon.wait(20) == 0, (folder / "log").read_text()


def put(client: Client, data: bytes) -> str:
    with client.content.writer(f"put {digests.of(data)}") as writer:
        writer.write(data)
        return writer.commit(len(data), digests.of(data), {"containerd.io/gc.root": "yes"})


def test_a_blob_goes_there_and_back(client: Client) -> None:
    data = bytes(range(256)) * 20000
    digest = put(client, data)
    assert client.content.read(digest) == data
    with client.content.open(digest) as file:
        file.seek(-5, 2)
        assert file.read() == data[-5:]
        file.seek(1_500_000)
        assert file.read(10) == data[1_500_000:1_500_010]
    assert b"".join(client.content.chunks(digest, 100, 5)) == data[100:105]
    with pytest.raises(OutOfRange):
        list(client.content.chunks(digest, len(data) + 1))
    with pytest.raises(AlreadyExists):
        client.content.writer("again", expected=digest)


def test_an_ingest_is_resumed_restarted_and_aborted(client: Client) -> None:
    with client.content.writer("r", total=6) as writer:
        writer.write(b"abc")
        with pytest.raises(Unavailable, match="ref tests/r locked"):
            client.content.writer("r")
    assert [status.offset for status in client.content.statuses() if status.ref == "r"] == [3]
    with client.content.writer("r") as writer:
        assert (writer.offset, writer.digest) == (3, digests.of(b"abc"))
        writer.truncate()
        assert writer.offset == 0
        writer.write(b"xy")
        with pytest.raises(FailedPrecondition, match="unexpected commit digest"):
            writer.commit(2, digests.of(b"no"))
    client.content.abort("r")
    with pytest.raises(NotFound):
        client.content.status("r")


def test_what_is_made_under_a_lease_is_kept_as_long(client: Client) -> None:
    with client.leased() as lease:
        with client.content.writer("leased") as writer:
            writer.write(b"leased")
            digest = writer.commit()
        assert [each.id for each in client.leases.resources(lease)] == [digest]
        other = client.leases.create()
        client.leases.delete(other.id, sync=True)
        assert client.content.info(digest).size == 6
    other = client.leases.create()
    client.leases.delete(other.id, sync=True)
    with pytest.raises(NotFound):
        client.content.info(digest)


def test_events_arrive_while_listening(client: Client) -> None:
    found: list[str] = []
    ready = threading.Event()

    def listen() -> None:
        for envelope in client.events.subscribe(["topic~=|^/images/|"]):
            found.append(envelope.topic)
            ready.set()
            if len(found) == 2:
                return

    thread = threading.Thread(target=listen)
    thread.start()
    target = Descriptor(digest=put(client, b"image"), size=5, media_type="m")
    while not ready.wait(0.2):  # nothing tells that the subscription has begun
        client.images.create(Image(name=f"i{time.time_ns()}", target=target))
    client.images.delete(client.images.list()[0].name)
    thread.join(10)
    assert found[0] == "/images/create" and len(found) == 2


def test_errors_keep_their_meaning_and_words(client: Client) -> None:
    with pytest.raises(NotFound, match='image "nobody": not found'):
        client.images.get("nobody")
    with pytest.raises(InvalidArgument, match="snapshotter not loaded: nobody"):
        list(client.snapshots("nobody").walk())
    with pytest.raises(NotFound, match="lease does not exist"):
        client.leases.resources("nobody")
    with pytest.raises(ContainerdError, match="parse error"):
        next(client.events.subscribe(["=="]))
    with pytest.raises(Unavailable, match="failed to dial"):
        Client("/nonexistent/socket").version()
    channel = Channel(client.channel.address, "")
    with pytest.raises(FailedPrecondition, match="namespace is required"):
        Client(channel.address, "").images.get("x")


def test_what_is_not_built_says_so(client: Client) -> None:
    from google.protobuf.empty_pb2 import Empty

    from minicontainerd.api.services.transfer.v1.transfer_pb2 import TransferRequest

    with pytest.raises(Unimplemented, match="method Transfer of containerd.services.transfer.v1.Transfer is not built"):
        client.channel.call("transfer.v1.Transfer/Transfer", TransferRequest(), Empty)


def test_a_namespace_has_its_own_defaults(client: Client) -> None:
    assert client.snapshots().snapshotter == "overlayfs"
    client.namespaces.label("tests", {"containerd.io/defaults/snapshotter": "native"})
    assert client.snapshots().snapshotter == "native"
    client.namespaces.label("tests", {"containerd.io/defaults/snapshotter": ""})


def test_leases_take_resources(client: Client) -> None:
    lease = client.leases.create("mine", {"a": "b"})
    assert [each.id for each in client.leases.list(["labels.a==b"])] == [lease.id]
    assert list(client.leases.resources("mine")) == list[Resource]()
    client.leases.delete("mine")


def test_a_client_that_goes_away_in_the_middle_leaves_nothing_locked(client: Client) -> None:
    for number in range(20):
        other = Client(client.channel.address, "tests")
        writer = other.content.writer("left alone")
        writer.write(b"x" * 100_000 * number)
        other.close()  # without ending the conversation
    for _ in range(100):
        try:
            with client.content.writer("left alone") as writer:
                writer.truncate()
            break
        except Unavailable:
            time.sleep(0.05)
    else:
        pytest.fail("the ref is still locked")
    client.content.abort("left alone")
