"""Layers become snapshots: each is applied on the one below and committed under its chain id.

::

    for each layer:   exists chain id? ─yes─▶ next
                      prepare("extract-<nanoseconds>-<random> <chain id>", parent chain id)
                      apply, and compare the diff id with the config's ─▶ commit(chain id)

A chain id names the result, so two images that share their lower layers share their snapshots, and a second unpack of
the same image does nothing. Two labels tie it together for the garbage collector: the layer blob gets
``containerd.io/uncompressed`` (its diff id), and the config blob ``containerd.io/gc.ref.snapshot.<snapshotter>`` (the
chain id of all layers): as long as the image is there, so are its snapshots.

Source: containerd@301026e core/unpack/unpacker.go; image-spec v1.1.1 config.md#layer-chainid.
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
from collections.abc import Callable, Sequence

from minicontainerd.errors import AlreadyExists, ContainerdError, FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.linux.tell import step
from minicontainerd.oci import image
from minicontainerd.oci.image import Config, Descriptor
from minicontainerd.oci.mount import Mount
from minicontainerd.pull.interfaces import Applier, Content, Progress, Snapshots, quiet
from minicontainerd.snapshot.apply import apply_layer
from minicontainerd.snapshot.snapshotter import INHERITED, LABEL_REF

UNCOMPRESSED = "containerd.io/uncompressed"
GC_SNAPSHOT = "containerd.io/gc.ref.snapshot."
_TRIES = 3  # for a key that is taken: they are random, so the second nearly always works


def local_applier(content: Content) -> Applier:
    """Apply layers in this process, which must see the paths in the snapshotter's mounts."""

    def apply(descriptor: Descriptor, mounts: Sequence[Mount]) -> str:
        with contextlib.closing(content.reader(descriptor.digest)) as blob:
            return apply_layer(mounts, blob, image.compression(descriptor.media_type)).diff_id

    return apply


def unpack(
    content: Content,
    snapshots: Snapshots,
    snapshotter: str,
    config: Descriptor,
    layers: Sequence[Descriptor],
    *,
    applier: Applier | None = None,
    ready: Callable[[int], object] = lambda number: None,
    progress: Progress = quiet,
) -> str:
    """Unpack the image of *config* and *layers* into *snapshots*, called *snapshotter*; answers the chain id of it all.

    *ready* is called with the number of each layer before it is needed, and may wait for its download.

    Raises:
        InvalidArgument: config and layers do not fit each other, or a layer cannot be applied.
        FailedPrecondition: a layer is not what the config says.
    """
    diff_ids = image.decode(content.read(config.digest), Config, config.digest).rootfs.diff_ids
    if len(diff_ids) != len(layers):
        raise InvalidArgument(f"number of layers and diffIDs don't match: {len(layers)} != {len(diff_ids)}")
    applier = applier or local_applier(content)
    parent = ""
    for number, (layer, diff_id, chain) in enumerate(zip(layers, diff_ids, image.chain_ids(diff_ids), strict=True)):
        ready(number)
        if not _exists(snapshots, chain):
            progress(f"layer-{layer.digest}", "extracting", 0, layer.size)
            with step(f"unpack layer {number + 1} of {len(layers)}", spec="image-spec config.md#layer-chainid"):
                _unpack_layer(snapshots, snapshotter, applier, layer, diff_id, chain, parent)
            progress(f"layer-{layer.digest}", "extracted", layer.size, layer.size)
        content.update_labels(layer.digest, {UNCOMPRESSED: diff_id})
        parent = chain
    if parent:
        content.update_labels(config.digest, {GC_SNAPSHOT + snapshotter: parent})
    return parent


def _exists(snapshots: Snapshots, name: str) -> bool:
    try:
        snapshots.stat(name)
    except NotFound:
        return False
    return True


def _unpack_layer(
    snapshots: Snapshots, snapshotter: str, applier: Applier, layer: Descriptor, diff_id: str, chain: str, parent: str
) -> None:
    labels = {key: value for key, value in layer.annotations.items() if key.startswith(INHERITED)}
    labels |= {LABEL_REF: chain, INHERITED + "diff-id": diff_id}
    key, mounts = _prepare(snapshots, chain, parent, labels)
    if mounts is None:
        return
    try:
        try:
            found = applier(layer, mounts)
        except ContainerdError as error:
            words = f"failed to extract layer ({layer.media_type} {layer.digest}) to {snapshotter} as {key!r}"
            raise type(error)(f"{words}: {error}") from error
        if found != diff_id:
            words = f'wrong diff id "{found}" calculated on extraction "{diff_id}", desc "{layer.digest}"'
            raise FailedPrecondition(words)
        snapshots.commit(chain, key, labels)
    except BaseException as error:
        with contextlib.suppress(ContainerdError):
            snapshots.remove(key)
        if not (isinstance(error, AlreadyExists) and _exists(snapshots, chain)):
            raise  # else another unpack of the same layer was faster


def _prepare(
    snapshots: Snapshots, chain: str, parent: str, labels: dict[str, str]
) -> tuple[str, Sequence[Mount] | None]:
    """A snapshot to extract into; no mounts if the snapshotter says that it has the layer already."""
    for attempt in range(_TRIES):
        unique = base64.urlsafe_b64encode(os.urandom(3)).decode()
        key = f"extract-{time.time_ns() % 10**9}-{unique} {chain}"
        try:
            return key, snapshots.prepare(key, parent, labels)
        except AlreadyExists:
            if _exists(snapshots, chain):
                return key, None
            if attempt + 1 == _TRIES:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")
