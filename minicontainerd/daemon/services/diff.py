"""Diff: from a layer to files, and from files to a layer."""

from __future__ import annotations

from minicontainerd.api import mounts as mount_messages
from minicontainerd.api.rpc import Call
from minicontainerd.api.services.diff.v1.diff_pb2 import ApplyRequest, ApplyResponse
from minicontainerd.api.types.descriptor_pb2 import Descriptor
from minicontainerd.daemon import blocking
from minicontainerd.oci.image import LAYER, compression
from minicontainerd.snapshot.apply import Applied, apply_layer
from minicontainerd.store.content import Content


class DiffService:
    """``containerd.services.diff.v1.Diff``."""

    def __init__(self, content: Content) -> None:
        self._content = content

    async def apply(self, request: ApplyRequest, call: Call) -> ApplyResponse:
        """Unpack a layer onto mounts; answers the digest of the uncompressed layer."""
        content = self._content.within(call.namespace, call.lease)
        mounts = mount_messages.from_wire(request.mounts)
        kind = compression(request.diff.media_type)

        def work() -> Applied:
            with content.open(request.diff.digest) as blob:
                return apply_layer(mounts, blob, kind, sync=request.sync_fs)

        applied = await blocking.call(work)
        return ApplyResponse(applied=Descriptor(media_type=LAYER, digest=applied.diff_id, size=applied.size))
