"""Content: reading and writing blobs.

``Write`` is the one conversation of the API. Each request is answered; the commit is answered twice, as containerd
does: clients wait for the end of the stream, and some for a last message before it. Two things surprise at first.
A write at offset 0 into an ingest that has bytes starts it anew. And a digest that is already here ends the
conversation with "already exists" as soon as it is named, which clients take for success.

Source: containerd@301026e plugins/services/content/contentserver/contentserver.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from google.protobuf.empty_pb2 import Empty

from minicontainerd.api.events.content_pb2 import ContentCreate, ContentDelete
from minicontainerd.api.rpc import Call
from minicontainerd.api.services.content.v1 import content_pb2 as api
from minicontainerd.daemon import blocking
from minicontainerd.daemon.collector import Collector
from minicontainerd.daemon.events import Exchange
from minicontainerd.errors import AlreadyExists, InvalidArgument, NotFound, OutOfRange
from minicontainerd.store.content import Content, NamespacedContent, Writer

READ_CHUNK = 1 << 20
"""Bytes in one answer of Read; gRPC messages may have 16 MiB, and smaller ones let others in between."""

SMALL = 1 << 16
"""Bytes that are read in the loop: a manifest or a config, which takes less than to wake a thread."""

LIST_BATCH = 100


class ContentService:
    """``containerd.services.content.v1.Content``."""

    def __init__(self, content: Content, exchange: Exchange, collector: Collector) -> None:
        self._content = content
        self._exchange = exchange
        self._collector = collector

    def _of(self, call: Call) -> NamespacedContent:
        return self._content.within(call.namespace, call.lease)

    async def info(self, request: api.InfoRequest, call: Call) -> api.InfoResponse:
        """Size, labels and times of a blob."""
        return api.InfoResponse(info=self._of(call).info(request.digest))

    async def update(self, request: api.UpdateRequest, call: Call) -> api.UpdateResponse:
        """Change labels of a blob."""
        asked, paths = request.info, list(request.update_mask.paths)
        return api.UpdateResponse(info=await blocking.call(self._of(call).update, asked.digest, asked.labels, paths))

    async def list(self, request: api.ListContentRequest, call: Call) -> AsyncIterator[api.ListContentResponse]:
        """The blobs that match any filter, in batches."""
        found = await blocking.call(lambda: list(self._of(call).walk(list(request.filters))))
        for start in range(0, len(found), LIST_BATCH):
            yield api.ListContentResponse(info=found[start : start + LIST_BATCH])

    async def delete(self, request: api.DeleteContentRequest, call: Call) -> Empty:
        """Remove a blob from this namespace."""
        await blocking.call(self._of(call).delete, request.digest)
        self._exchange.publish(call.namespace, "/content/delete", ContentDelete(digest=request.digest))
        await self._collector.after_removal()
        return Empty()

    async def read(self, request: api.ReadContentRequest, call: Call) -> AsyncIterator[api.ReadContentResponse]:
        """A part of a blob, in chunks."""
        file = self._of(call).open(request.digest)
        with file:
            end = file.seek(0, 2)
            offset = max(request.offset, 0)
            if offset > end:
                raise OutOfRange(f"read past object length {end} bytes")
            if request.size > 0:
                end = min(end, offset + request.size)
            file.seek(offset)
            while offset < end:
                length = min(READ_CHUNK, end - offset)
                data = file.read(length) if length <= SMALL else await blocking.call(file.read, length)
                if not data:
                    raise NotFound(f"content {request.digest} was cut short at {offset}")
                yield api.ReadContentResponse(offset=offset, data=data)
                offset += len(data)

    async def status(self, request: api.StatusRequest, call: Call) -> api.StatusResponse:
        """How far one ingest is."""
        try:
            return api.StatusResponse(status=self._of(call).status(request.ref))
        except NotFound as error:
            raise NotFound(f'could not get status for ref "{request.ref}": {error}') from None

    async def list_statuses(self, request: api.ListStatusesRequest, call: Call) -> api.ListStatusesResponse:
        """How far each ingest is."""
        return api.ListStatusesResponse(statuses=await blocking.call(self._of(call).statuses, list(request.filters)))

    async def abort(self, request: api.AbortRequest, call: Call) -> Empty:
        """Drop an ingest and its bytes."""
        await blocking.call(self._of(call).abort, request.ref)
        return Empty()

    async def write(
        self, requests: AsyncIterator[api.WriteContentRequest], call: Call
    ) -> AsyncIterator[api.WriteContentResponse]:
        """Grow an ingest and commit it as a blob."""
        first = await anext(requests, None)
        if first is None:
            return
        if not first.ref:
            raise InvalidArgument("first message must have a reference")
        content = self._of(call)

        def make() -> Writer:
            return content.writer(first.ref, expected=first.expected, total=first.total)

        async with blocking.holding(make, Writer.close) as writer:
            conversation, request = _Conversation(content, writer, first), first
            while True:
                answer = await conversation.step(request)
                if answer.action == api.COMMIT:
                    event = ContentCreate(digest=answer.digest, size=answer.offset)
                    self._exchange.publish(call.namespace, "/content/create", event)
                yield answer
                following = None if answer.action == api.COMMIT else await anext(requests, None)
                if following is None:
                    break
                request = following
            yield answer


class _Conversation:
    """What is known of one ``Write`` so far: the newest total and digest that the client announced."""

    def __init__(self, content: NamespacedContent, writer: Writer, first: api.WriteContentRequest) -> None:
        self._content = content
        self._writer = writer
        self._total = first.total
        self._expected = first.expected

    async def step(self, request: api.WriteContentRequest) -> api.WriteContentResponse:
        """Do what one request asks, and answer it.

        Raises:
            AlreadyExists: the announced digest is here; the ingest is dropped.
            OutOfRange: the data belongs elsewhere than at the end.
            FailedPrecondition: size or digest differ at the commit.
        """
        if request.expected:
            await self._end_if_it_exists(request.expected)
            self._expected = request.expected
        self._total = request.total or self._total
        work = asyncio.ensure_future(blocking.call(self._stat if request.action == api.STAT else self._write, request))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])  # the thread goes on writing; the file must not be closed under it
            raise

    def _stat(self, request: api.WriteContentRequest) -> api.WriteContentResponse:
        status = self._writer.status()
        return api.WriteContentResponse(
            action=request.action,
            offset=self._writer.offset,
            total=self._total,
            digest=self._writer.digest,
            started_at=status.started_at,
            updated_at=status.updated_at,
        )

    def _write(self, request: api.WriteContentRequest) -> api.WriteContentResponse:
        writer = self._writer
        if request.offset > 0 and request.offset != writer.offset:
            raise OutOfRange(f"write @{request.offset} must occur at current offset {writer.offset}")
        starts_anew = request.offset == 0 and writer.offset > 0 and (request.data or request.action == api.WRITE)
        if starts_anew:
            writer.truncate(0)
        if request.data:
            writer.write(request.data)
        digest = writer.digest
        if request.action == api.COMMIT:
            digest = writer.commit(self._total, self._expected, request.labels)
        return api.WriteContentResponse(action=request.action, offset=writer.offset, digest=digest)

    async def _end_if_it_exists(self, digest: str) -> None:
        try:
            await blocking.call(self._content.info, digest)
        except NotFound:
            return
        await blocking.call(self._writer.close)
        await blocking.call(self._content.abort, self._writer.ref)
        raise AlreadyExists(f"blob with expected digest {digest} exists")
