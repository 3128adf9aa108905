"""Pulling and unpacking from the client's side: the work is ``pull/``'s, on the daemon's store over the wire.

A containerd client of version 1 fetches images itself and has the daemon keep them; so does this one. The daemon
applies the layers, since the snapshots are on its disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minicontainerd.api.services.images.v1.images_pb2 import Image as Record
from minicontainerd.api.types import descriptor_pb2
from minicontainerd.client.client import Client
from minicontainerd.client.image import Image
from minicontainerd.errors import AlreadyExists
from minicontainerd.oci.image import Descriptor
from minicontainerd.oci.mount import Mount
from minicontainerd.oci.platform import Platform
from minicontainerd.pull.interfaces import Progress, quiet
from minicontainerd.pull.pull import Pulled, Unpacking
from minicontainerd.pull.pull import pull as pull_image
from minicontainerd.pull.registry import Options
from minicontainerd.pull.unpack import unpack as unpack_layers


def pull(
    client: Client,
    ref: str,
    *,
    options: Options | None = None,
    wanted: Sequence[Platform] | None = None,
    snapshotter: str = "",
    labels: Mapping[str, str] | None = None,
    progress: Progress = quiet,
    parallel: int = 3,
    sync: bool = False,
) -> Pulled:
    """Pull the image *ref* and unpack it for *snapshotter*; see :func:`minicontainerd.pull.pull.pull`.

    What is stored is synced always. The unpacked files are with *sync* alone, as containerd has it: without, a power
    cut within the next seconds may leave files of the right names and no content.
    """
    snapshots = client.snapshots(snapshotter)

    def save(name: str, target: Descriptor) -> None:
        record = Record(name=name, target=_to_wire(target), labels=labels or {})
        try:
            client.images.create(record)
        except AlreadyExists:
            client.images.update(record, ["target", "labels"])

    with client.leased():
        return pull_image(
            ref,
            client.content,
            save,
            options=options,
            wanted=wanted,
            unpacking=Unpacking(snapshots, snapshots.snapshotter, _Applier(client, sync)),
            progress=progress,
            parallel=parallel,
        )


def unpack(client: Client, image: Image, snapshotter: str, progress: Progress = quiet) -> str:
    """Unpack an image that is here for *snapshotter*; answers the chain id."""
    manifest = image.manifest()
    with client.leased():
        return unpack_layers(
            client.content,
            client.snapshots(snapshotter),
            snapshotter,
            manifest.config,
            manifest.layers,
            applier=_Applier(client),
            progress=progress,
        )


class _Applier:
    """Has the daemon apply a layer."""

    def __init__(self, client: Client, sync: bool = False) -> None:
        self._client = client
        self._sync = sync

    def __call__(self, descriptor: Descriptor, mounts: Sequence[Mount]) -> str:
        return self._client.diff.apply(_to_wire(descriptor), mounts, sync=self._sync).digest


def _to_wire(descriptor: Descriptor) -> descriptor_pb2.Descriptor:
    return descriptor_pb2.Descriptor(
        media_type=descriptor.media_type,
        digest=descriptor.digest,
        size=descriptor.size,
        annotations=descriptor.annotations,
    )
