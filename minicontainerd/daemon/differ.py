"""The differ: layers out of the content store onto snapshots, and what differs between snapshots back into it.

Source: containerd@301026e plugins/diff/walking/differ.go, plugins/services/diff/local.go.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Mapping, Sequence

from minicontainerd.api import timestamp
from minicontainerd.errors import AlreadyExists, Unimplemented
from minicontainerd.oci.image import LAYER, LAYER_GZIP, LAYER_ZSTD, Descriptor, compression
from minicontainerd.oci.mount import Mount
from minicontainerd.pull.unpack import UNCOMPRESSED
from minicontainerd.snapshot.apply import apply_layer
from minicontainerd.snapshot.diff import Diff
from minicontainerd.store.content import NamespacedContent, Writer

COMPRESSIONS = {LAYER: "", LAYER_GZIP: "gzip", LAYER_ZSTD: "zstd"}


def apply(content: NamespacedContent, layer: Descriptor, mounts: Sequence[Mount], *, sync: bool) -> Descriptor:
    """Unpack *layer* onto *mounts*; answers the descriptor of the uncompressed layer.

    Raises:
        NotFound: the layer is not in the store.
        InvalidArgument: it is no layer, or an entry of it cannot be made.
    """
    kind = compression(layer.media_type)
    with content.open(layer.digest) as blob:
        applied = apply_layer(mounts, blob, kind, sync=sync)
    return Descriptor(LAYER, applied.diff_id, applied.size)


def diff(
    content: NamespacedContent,
    lower: Sequence[Mount],
    upper: Sequence[Mount],
    *,
    media_type: str = "",
    ref: str = "",
    labels: Mapping[str, str] | None = None,
) -> Descriptor:
    """Write what *upper* has over *lower* as a layer into *content*; answers its descriptor.

    Raises:
        Unimplemented: *media_type* is of no layer that can be written.
        Unavailable: another writer holds *ref*.
    """
    media_type = media_type or LAYER_GZIP
    if media_type not in COMPRESSIONS:
        raise Unimplemented(f"unsupported diff media type: {media_type}")
    layer = Diff(lower, upper, COMPRESSIONS[media_type])
    unique = f"{timestamp.now()}-{base64.urlsafe_b64encode(os.urandom(3)).decode()}"
    with content.writer(ref or unique) as writer:
        try:
            digest, size = _fill(writer, layer, labels or {})
        except BaseException:
            if not ref:  # nobody could go on with an ingest whose name we made up
                content.abort(unique)
            raise
    content.update_labels(digest, {UNCOMPRESSED: layer.diff_id})
    return Descriptor(media_type, digest, size)


def _fill(writer: Writer, layer: Diff, labels: Mapping[str, str]) -> tuple[str, int]:
    """Write and commit *layer*; answers its digest and size."""
    writer.truncate()
    for piece in layer:
        writer.write(piece)
    digest, size = writer.digest, writer.offset
    with contextlib.suppress(AlreadyExists):
        writer.commit(size, digest, labels)
    return digest, size
