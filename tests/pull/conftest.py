"""A store, a misbehaving registry and an image in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from minicontainerd.oci import image
from minicontainerd.oci.digest import of
from minicontainerd.oci.image import Config, Descriptor, Index, Manifest, RootFS
from minicontainerd.oci.platform import parse
from minicontainerd.pull.registry import Options
from minicontainerd.snapshot.compression import compressed
from minicontainerd.store.blobs import Blobs
from minicontainerd.store.content import Content, NamespacedContent
from minicontainerd.store.database import Database
from tests.pull.faulty import FaultyRegistry
from tests.snapshot.layers import chunks, directory, file

OPTIONS = Options(backoff=0.01)


@dataclass
class SmallImage:
    """An image of two layers for linux/amd64, within an index of two platforms."""

    index: Descriptor
    manifest: Descriptor
    config: Descriptor
    layers: list[Descriptor]
    diff_ids: list[str]


def put_image(registry: FaultyRegistry) -> SmallImage:
    archives = [
        b"".join(chunks(directory("etc"), file("etc/name", b"one"), file("big", bytes(range(256)) * 4000))),
        b"".join(chunks(file("etc/.wh.name"), file("etc/other", b"two"))),
    ]
    layers = []
    for archive, kind in zip(archives, ("gzip", "zstd"), strict=True):
        data = b"".join(compressed([archive], kind))
        layers.append(Descriptor(f"{image.LAYER}+{kind}", registry.add(data), len(data)))
    diff_ids = [of(archive) for archive in archives]
    config = image.encode(Config("amd64", "linux", rootfs=RootFS("layers", diff_ids)))
    config_at = Descriptor(image.CONFIG, registry.add(config), len(config))
    manifests = []
    for architecture in ("arm64", "amd64"):
        document = Manifest(config_at, media_type=image.MANIFEST, layers=layers, annotations={"a": architecture})
        manifest = image.encode(document)
        digest = registry.add_manifest(manifest, image.MANIFEST, architecture)
        platform = parse(f"linux/{architecture}")
        manifests.append(Descriptor(image.MANIFEST, digest, len(manifest), platform=platform))
    index = image.encode(Index(media_type=image.INDEX, manifests=manifests))
    at = Descriptor(image.INDEX, registry.add_manifest(index, image.INDEX, "1"), len(index))
    return SmallImage(at, manifests[1], config_at, layers, diff_ids)


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as server:
        yield server


@pytest.fixture
def small(registry: FaultyRegistry) -> SmallImage:
    return put_image(registry)


@pytest.fixture
def content(tmp_path: Path) -> Iterator[NamespacedContent]:
    database = Database(tmp_path / "metadata.db")
    yield Content(database, Blobs(tmp_path / "content")).within("test")
    database.close()
