"""An image as a client sees it: from the name to the manifest, the config and the layers of one platform."""

from __future__ import annotations

from collections.abc import Iterator

from minicontainerd.api.services.images.v1.images_pb2 import Image as Record
from minicontainerd.client.client import Client
from minicontainerd.errors import ContainerdError, NotFound
from minicontainerd.oci import platform as platforms
from minicontainerd.oci.image import (
    INDEXES,
    MANIFESTS,
    Config,
    Descriptor,
    Index,
    Manifest,
    chain_id,
    children,
    decode,
)
from minicontainerd.oci.platform import Platform


class Image:
    """One image of *client*'s daemon, for one platform; each part is read when it is asked for.

    Raises, in all methods:
        NotFound: content is missing, or the image is not for that platform.
        InvalidArgument: a document does not parse.
    """

    def __init__(self, client: Client, record: Record, platform: Platform | None = None) -> None:
        self._client = client
        self.record = record
        self.name = record.name
        self.platform = platform or platforms.host()

    @property
    def target(self) -> Descriptor:
        """What the name points to."""
        target = self.record.target
        return Descriptor(media_type=target.media_type, digest=target.digest, size=target.size)

    def manifest(self) -> Manifest:
        """The manifest of the wanted platform."""
        return self._manifest(self.target)

    def _manifest(self, descriptor: Descriptor) -> Manifest:
        data = self._client.content.read(descriptor.digest)
        if descriptor.media_type not in INDEXES:
            return decode(data, Manifest, descriptor.digest)
        for candidate in platforms.best(self.platform, decode(data, Index, descriptor.digest).manifests):
            try:
                return self._manifest(candidate)
            except NotFound:
                continue  # an index may name what was never fetched
        raise NotFound(f"image {self.name}: no match for platform {platforms.format(self.platform)} in manifest")

    def config(self) -> Config:
        """How to run it, and what its layers are uncompressed."""
        return self._config(self.manifest().config)

    def _config(self, descriptor: Descriptor) -> Config:
        return decode(self._client.content.read(descriptor.digest), Config, descriptor.digest)

    def chain_id(self) -> str:
        """The name of the snapshot that holds all layers."""
        return chain_id(self.config().rootfs.diff_ids)

    def is_unpacked(self, snapshotter: str) -> bool:
        """Whether that snapshot is there."""
        try:
            self._client.snapshots(snapshotter).stat(self.chain_id())
        except NotFound:
            return False
        return True

    def platforms(self) -> list[str]:
        """The platforms whose config is here, formatted, sorted."""
        found = set()
        for manifest, _ in self.manifests():
            try:
                found.add(platforms.format(platforms.normalise(self._config(manifest.config).platform)))
            except ContainerdError:
                continue
        return sorted(found)

    def manifests(self) -> Iterator[tuple[Manifest, Descriptor]]:
        """Every manifest that is here, with its descriptor."""
        todo = [self.target]
        while todo:
            descriptor = todo.pop(0)
            try:
                data = self._client.content.read(descriptor.digest)
            except NotFound:
                continue
            if descriptor.media_type in INDEXES:
                todo += decode(data, Index, descriptor.digest).manifests
            elif descriptor.media_type in MANIFESTS:
                yield decode(data, Manifest, descriptor.digest), descriptor

    def size(self) -> int:
        """Bytes of all that is here and that the image points to."""
        total, seen, todo = 0, set(), [self.target]
        while todo:
            descriptor = todo.pop()
            if descriptor.digest in seen:
                continue
            seen.add(descriptor.digest)
            try:
                total += self._client.content.info(descriptor.digest).size
            except NotFound:
                continue
            data = self._client.content.read(descriptor.digest) if descriptor.media_type in INDEXES | MANIFESTS else b""
            if descriptor.media_type in INDEXES:
                todo += decode(data, Index, descriptor.digest).manifests
            elif descriptor.media_type in MANIFESTS:
                todo += children(decode(data, Manifest, descriptor.digest))
        return total

    def needed(self) -> list[Descriptor]:
        """What the manifest of the wanted platform points to: config and layers."""
        return children(self.manifest())
