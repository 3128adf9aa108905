"""Diff: from a layer to files, and from files to a layer."""

from __future__ import annotations

from minicontainerd.api.mounts import from_wire
from minicontainerd.api.rpc import Call
from minicontainerd.api.services.diff.v1.diff_pb2 import ApplyRequest, ApplyResponse, DiffRequest, DiffResponse
from minicontainerd.api.types import descriptor_pb2
from minicontainerd.daemon import blocking, differ
from minicontainerd.oci.image import Descriptor
from minicontainerd.store.content import Content


class DiffService:
    """``containerd.services.diff.v1.Diff``."""

    def __init__(self, content: Content) -> None:
        self._content = content

    async def apply(self, request: ApplyRequest, call: Call) -> ApplyResponse:
        """Unpack a layer onto mounts; answers the digest of the uncompressed layer."""
        content = self._content.within(call.namespace, call.lease)
        layer = Descriptor(request.diff.media_type, request.diff.digest, request.diff.size)
        mounts = from_wire(request.mounts)
        applied = await blocking.call(differ.apply, content, layer, mounts, sync=request.sync_fs)
        return ApplyResponse(applied=_to_wire(applied))

    async def diff(self, request: DiffRequest, call: Call) -> DiffResponse:
        """Write what differs between two sets of mounts as a layer into the content store."""
        made = await blocking.call(
            differ.diff,
            self._content.within(call.namespace, call.lease),
            from_wire(request.left),
            from_wire(request.right),
            media_type=request.media_type,
            ref=request.ref,
            labels=request.labels,
        )
        return DiffResponse(diff=_to_wire(made))


def _to_wire(descriptor: Descriptor) -> descriptor_pb2.Descriptor:
    return descriptor_pb2.Descriptor(media_type=descriptor.media_type, digest=descriptor.digest, size=descriptor.size)
