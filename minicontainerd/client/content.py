"""The content store over the wire: the same methods as ``store/content.py`` has in the daemon."""

from __future__ import annotations

import io
import queue
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask

from minicontainerd.api.services.content.v1 import content_pb2 as api
from minicontainerd.api.services.content.v1.content_pb2 import Info, Status
from minicontainerd.client.channel import Channel

SERVICE = "content.v1.Content"
WRITE_CHUNK = 1 << 20
"""Bytes in one request; containerd's clients use the same."""


class RemoteContent:
    """What the channel's namespace has."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def info(self, digest: str) -> Info:
        """Size, labels and times of a blob."""
        return self._channel.call(f"{SERVICE}/Info", api.InfoRequest(digest=digest), api.InfoResponse).info

    def open(self, digest: str) -> IO[bytes]:
        """A blob as a file to read and to seek in; nothing is held in memory but the chunk read last."""
        return io.BufferedReader(_Reader(self, digest, self.info(digest).size), WRITE_CHUNK)

    reader = open

    def read(self, digest: str) -> bytes:
        """All bytes of a blob; for small ones, such as manifests."""
        return b"".join(self.chunks(digest))

    def chunks(self, digest: str, offset: int = 0, size: int = 0) -> Iterator[bytes]:
        """The bytes of a blob from *offset*, *size* of them or (0) all."""
        request = api.ReadContentRequest(digest=digest, offset=offset, size=size)
        for answer in self._channel.stream(f"{SERVICE}/Read", request, api.ReadContentResponse):
            yield answer.data

    def walk(self, filters: Sequence[str] = ()) -> Iterator[Info]:
        """The blobs that match any filter."""
        request = api.ListContentRequest(filters=filters)
        for answer in self._channel.stream(f"{SERVICE}/List", request, api.ListContentResponse):
            yield from answer.info

    def update_labels(self, digest: str, labels: Mapping[str, str]) -> Info:
        """Add, replace or (with an empty value) remove labels."""
        mask = FieldMask(paths=[f"labels.{key}" for key in labels])
        request = api.UpdateRequest(info=Info(digest=digest, labels=labels), update_mask=mask)
        return self._channel.call(f"{SERVICE}/Update", request, api.UpdateResponse).info

    def delete(self, digest: str) -> None:
        """Remove a blob from the namespace."""
        self._channel.call(f"{SERVICE}/Delete", api.DeleteContentRequest(digest=digest), Empty)

    def status(self, ref: str) -> Status:
        """How far one ingest is."""
        return self._channel.call(f"{SERVICE}/Status", api.StatusRequest(ref=ref), api.StatusResponse).status

    def statuses(self, filters: Sequence[str] = ()) -> Sequence[Status]:
        """How far each ingest is."""
        request = api.ListStatusesRequest(filters=filters)
        return self._channel.call(f"{SERVICE}/ListStatuses", request, api.ListStatusesResponse).statuses

    def abort(self, ref: str) -> None:
        """Drop an ingest and its bytes."""
        self._channel.call(f"{SERVICE}/Abort", api.AbortRequest(ref=ref), Empty)

    def writer(self, ref: str, *, expected: str = "", total: int = 0) -> RemoteWriter:
        """Start the ingest *ref* or go on with it.

        Raises:
            AlreadyExists: *expected* is there.
            Unavailable: another writer holds *ref*.
        """
        return RemoteWriter(self._channel, ref, expected, total)


class RemoteWriter:
    """An open conversation with ``Write``: each request is answered before the next one is sent."""

    def __init__(self, channel: Channel, ref: str, expected: str, total: int) -> None:
        self.ref = ref
        self._channel = channel
        self._requests: queue.SimpleQueue[api.WriteContentRequest | None] = queue.SimpleQueue()
        self._answers = channel.converse(f"{SERVICE}/Write", iter(self._requests.get, None), api.WriteContentResponse)
        self._closed = False
        try:
            started = self._ask(api.WriteContentRequest(action=api.STAT, ref=ref, expected=expected, total=total))
        except BaseException:
            self.close()
            raise
        self.offset = started.offset
        self.digest = started.digest

    def status(self) -> Status:
        """How far this ingest is."""
        answer = self._ask(api.WriteContentRequest(action=api.STAT, ref=self.ref))
        return Status(ref=self.ref, offset=answer.offset, total=answer.total, started_at=answer.started_at)

    def write(self, data: bytes) -> int:
        """Add *data* at the end; answers how many bytes, which is all of them."""
        for start in range(0, len(data), WRITE_CHUNK):
            self._write(bytes(data[start : start + WRITE_CHUNK]), self.offset)
        return len(data)

    def truncate(self, size: int = 0) -> None:
        """Start anew, with nothing: a write at offset 0, even of nothing, does that."""
        self._write(b"", size)

    def commit(self, size: int = 0, expected: str = "", labels: Mapping[str, str] | None = None) -> str:
        """Publish, and answer the digest; 0 and the empty string check nothing.

        Raises:
            FailedPrecondition: length or digest differ. The ingest stays.
            AlreadyExists: the namespace has the blob.
        """
        request = api.WriteContentRequest(
            action=api.COMMIT, ref=self.ref, offset=self.offset, total=size, expected=expected, labels=labels or {}
        )
        self.digest = self._ask(request).digest
        return self.digest

    def close(self) -> None:
        """Let go of the name. Uncommitted bytes stay for the next writer."""
        if not self._closed:
            self._closed = True
            self._requests.put(None)
            for _ in _until_any_end(self._answers):
                pass  # wait for the daemon's end of it, so that the name is free when we return

    def __enter__(self) -> RemoteWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, data: bytes, offset: int) -> None:
        answer = self._ask(api.WriteContentRequest(action=api.WRITE, ref=self.ref, data=data, offset=offset))
        self.offset, self.digest = answer.offset, answer.digest

    def _ask(self, request: api.WriteContentRequest) -> api.WriteContentResponse:
        self._requests.put(request)
        answer: api.WriteContentResponse = self._channel.next(self._answers)
        return answer


def _until_any_end(answers: Iterator[object]) -> Iterator[object]:
    """*answers* until they end, well or badly; after a refusal there is nothing more to learn from them."""
    try:
        yield from answers
    except Exception as error:  # grpc's own class, which ``channel`` keeps to itself
        if not hasattr(error, "code"):
            raise


class _Reader(io.RawIOBase):
    """A blob as a raw file: each read is one ``Read``."""

    def __init__(self, content: RemoteContent, digest: str, size: int) -> None:
        super().__init__()
        self._content = content
        self._digest = digest
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        data = b"".join(self._content.chunks(self._digest, self._at, wanted))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
