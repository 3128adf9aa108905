"""Images: a small tree of JSON documents that point at each other, and at layers, by digest.

::

    index ──▶ manifest ──▶ config      the environment, the command, and the diff ids of the layers
     (one per platform) └─▶ layers     compressed tar files, lowest first

Every arrow is a *descriptor*: media type, digest, size. Docker and OCI use different media types for the same
documents, and both occur. A layer has two names: the digest of its compressed bytes, which the manifest has, and its
*diff id*, the digest of the tar inside, which the config has. A stack of layers is named by its *chain id*::

    chain(0) = diff_id(0)            chain(n) = sha256(chain(n-1) + " " + diff_id(n))

Documents come from strangers: they are decoded into typed structs under limits, and an error names the place, as in
``$.layers[2].size``. Unknown fields are ignored, as the specification asks.

Source: image-spec v1.1.1 manifest.md, image-index.md, config.md; the labels: containerd@301026e
core/images/{mediatypes,handlers}.go; the limit: core/remotes/docker/resolver.go, ``MaxManifestSize``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from minicontainerd.errors import InvalidArgument, Unimplemented
from minicontainerd.oci import digest as digests
from minicontainerd.oci.platform import Platform

MAX_DOCUMENT = 4 * 1048 * 1048  # bytes; containerd's own number, which was meant to be 4 MiB
MAX_CHILDREN = 4096  # layers or manifests of one document

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = LAYER + "+gzip"
LAYER_ZSTD = LAYER + "+zstd"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

INDEXES = frozenset((INDEX, DOCKER_INDEX))
MANIFESTS = frozenset((MANIFEST, DOCKER_MANIFEST))
CONFIGS = frozenset((CONFIG, DOCKER_CONFIG))

_LAYERS = {  # base of the media type (before a "+"): compression, where None means "look at the bytes"
    DOCKER_LAYER: None,
    DOCKER_LAYER + ".gzip": "gzip",
    DOCKER_LAYER + ".zstd": "zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar": None,
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "gzip",
    LAYER: "",
    "application/vnd.oci.image.layer.nondistributable.v1.tar": "",
}

Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Text = Annotated[str, Meta(max_length=64 * 1024)]


class _Document(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What all documents share: names in camelCase, and no field that is empty."""


class Descriptor(_Document, frozen=True, omit_defaults=True):
    """An arrow to some bytes: what they are, what they must hash to, and how many they are."""

    media_type: Annotated[str, Meta(max_length=256)] = ""
    digest: Annotated[str, Meta(max_length=160)] = ""
    size: Size = 0
    urls: list[Text] = []
    annotations: dict[str, Text] = {}
    data: Text = ""
    platform: Platform | None = None
    artifact_type: str = ""


class Index(_Document, frozen=True, omit_defaults=True):
    """The same image for several platforms (or any list of documents)."""

    schema_version: int = 2
    media_type: str = ""
    artifact_type: str = ""
    manifests: Annotated[list[Descriptor], Meta(max_length=MAX_CHILDREN)] = []
    subject: Descriptor | None = None
    annotations: dict[str, Text] = {}


class Manifest(_Document, frozen=True, omit_defaults=True):
    """One image for one platform."""

    config: Descriptor
    schema_version: int = 2
    media_type: str = ""
    artifact_type: str = ""
    layers: Annotated[list[Descriptor], Meta(max_length=MAX_CHILDREN)] = []
    subject: Descriptor | None = None
    annotations: dict[str, Text] = {}


class RootFS(Struct, frozen=True):
    """What the layers are without compression, lowest first."""

    type: str = ""
    diff_ids: Annotated[list[str], Meta(max_length=MAX_CHILDREN)] = []


class HealthCheck(Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """Docker's extension of the config; times in nanoseconds."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    retries: int = 0


class ExecConfig(Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """How to run a container of the image. Docker writes null where it has no value."""

    user: str = ""
    exposed_ports: dict[str, Any] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, Any] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: HealthCheck | None = None
    shell: list[str] | None = None


class Config(Struct, frozen=True, omit_defaults=True):
    """The image config: the platform, how to run it, and its root filesystem."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = field(default="", name="os.version")
    os_features: list[str] | None = field(default=None, name="os.features")
    created: str | None = None
    author: str = ""
    config: ExecConfig | None = None
    rootfs: RootFS = RootFS()
    history: list[dict[str, Any]] | None = None

    @property
    def platform(self) -> Platform:
        """The platform the image runs on."""
        features = tuple(self.os_features or ())
        return Platform(self.architecture, self.os, self.os_version, features, self.variant)


D = TypeVar("D", Index, Manifest, Config)


def decode(data: bytes, kind: type[D], what: str = "") -> D:
    """Read *data* as a document; *what* (a digest, usually) goes into the errors.

    >>> decode(b'{"config": {"size": -1}}', Manifest, "sha256:…")
    Traceback (most recent call last):
    minicontainerd.errors.InvalidArgument: sha256:…: Expected `int` >= 0 - at `$.config.size`: invalid argument

    Raises:
        InvalidArgument: too large, no JSON, or not of this kind; also a document that is both index and manifest.
    """
    name = what or kind.__name__.lower()
    if len(data) > MAX_DOCUMENT:
        raise InvalidArgument(f"{name}: {len(data)} bytes, the limit is {MAX_DOCUMENT}")
    try:
        document = msgspec.json.decode(data, type=kind)
        if kind is not Config:
            _check_not_ambiguous(data, kind, name)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument(f"{name}: {error}") from error
    for child in children(document):
        digests.validate(child.digest)
    return document


class _Shape(Struct):
    manifests: msgspec.Raw = msgspec.Raw()
    config: msgspec.Raw = msgspec.Raw()
    layers: msgspec.Raw = msgspec.Raw()
    fs_layers: msgspec.Raw = field(default=msgspec.Raw(), name="fsLayers")


def _check_not_ambiguous(data: bytes, kind: type, name: str) -> None:
    """Refuse bytes that one reader may take for an index and another for a manifest (CVE-2021-41190)."""
    shape = msgspec.json.decode(data, type=_Shape)
    if bytes(shape.fs_layers):
        raise InvalidArgument(f"{name}: media-type: schema 1 not supported")
    if kind is Manifest and bytes(shape.manifests):
        raise InvalidArgument(f'{name}: media-type: manifest should not have "manifests"')
    if kind is Index and (bytes(shape.config) or bytes(shape.layers)):
        raise InvalidArgument(f'{name}: media-type: index should not have "config" or "layers"')


def encode(document: Struct) -> bytes:
    """The JSON of a document: fields in the order of the specification, no spaces."""
    return msgspec.json.encode(document)


def children(document: Index | Manifest | Config) -> list[Descriptor]:
    """Where a document points: the config before the layers, as containerd walks them."""
    if isinstance(document, Index):
        return document.manifests
    if isinstance(document, Manifest):
        return [document.config, *document.layers]
    return []


def is_layer(media_type: str) -> bool:
    """Is this a layer, of whatever compression?"""
    return media_type.startswith("application/vnd.oci.image.layer.") or media_type.split("+")[0] in _LAYERS


def compression(media_type: str) -> str | None:
    """How a layer is compressed: ``gzip``, ``zstd``, the empty string for not at all, None for "look at the bytes".

    Raises:
        Unimplemented: not the media type of a layer.
    """
    base, *suffixes = media_type.split("+")
    if base not in _LAYERS:
        raise Unimplemented(f"unrecognised mediatype {media_type}")
    if suffixes:
        return (
            suffixes[-1] if suffixes[-1] in ("gzip", "zstd") and not base.startswith("application/vnd.docker") else ""
        )
    return _LAYERS[base]


def chain_ids(diff_ids: Iterable[str]) -> Iterator[str]:
    """The chain id of each layer together with all below it.

    >>> list(chain_ids(["sha256:a", "sha256:b"]))[1][:15]
    'sha256:970a948b'
    """
    chain = ""
    for diff_id in diff_ids:
        chain = f"sha256:{hashlib.sha256(f'{chain} {diff_id}'.encode()).hexdigest()}" if chain else diff_id
        yield chain


def chain_id(diff_ids: Iterable[str]) -> str:
    """The chain id of the whole stack; the empty string for no layers."""
    *_, last = ["", *chain_ids(diff_ids)]
    return last


_CHECKPOINTS = (
    "application/vnd.containerd.container.criu.checkpoint.criu.tar",
    "application/vnd.containerd.container.checkpoint.config.v1+proto",
)


def children_labels(descriptors: Iterable[Descriptor]) -> dict[str, str]:
    """The labels that keep the targets of a document from the garbage collector, for the blob of that document.

    >>> children_labels([Descriptor(CONFIG, "sha256:c"), Descriptor(LAYER_GZIP, "sha256:l")])
    {'containerd.io/gc.ref.content.config': 'sha256:c', 'containerd.io/gc.ref.content.l.0': 'sha256:l'}
    """
    labels: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for descriptor in descriptors:
        kind = _label_kind(descriptor)
        number = seen[kind]
        seen[kind] += 1
        if kind == "referrer.sha256.":
            kind += digests.encoded(descriptor.digest)[:12]
        elif number or kind.endswith(".") or not kind:
            kind += str(number)
        labels["containerd.io/gc.ref.content." + kind] = descriptor.digest
    return labels


def _label_kind(descriptor: Descriptor) -> str:
    if "io.containerd.manifest.subject" in descriptor.annotations:
        return "referrer.sha256."
    if descriptor.media_type in CONFIGS or descriptor.media_type in _CHECKPOINTS:
        return "config"
    if descriptor.media_type in MANIFESTS:
        return "m."
    return "l." if is_layer(descriptor.media_type) else ""
