"""Image documents: decoded under limits, ambiguous ones refused, names computed as the specification says."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainerd.errors import ContainerdError, InvalidArgument, Unimplemented
from minicontainerd.oci import image
from minicontainerd.oci.digest import of
from minicontainerd.oci.image import Config, Descriptor, Index, Manifest


def descriptor(media_type: str, data: bytes) -> Descriptor:
    return Descriptor(media_type, of(data), len(data))


MANIFEST = Manifest(descriptor(image.CONFIG, b"c"), media_type=image.MANIFEST, layers=[descriptor(image.LAYER, b"l")])


def test_a_manifest_reads_back_as_written() -> None:
    assert image.decode(image.encode(MANIFEST), Manifest) == MANIFEST


def test_unknown_fields_and_docker_nulls_are_ignored() -> None:
    data = b'{"os": "linux", "architecture": "amd64", "moby": 1, "config": {"Cmd": null, "Env": ["A=b"]}, "rootfs": {}}'
    config = image.decode(data, Config)
    assert config.config is not None and config.config.env == ["A=b"]
    assert str(config.platform) == "linux/amd64"


def test_an_error_names_the_path() -> None:
    with pytest.raises(InvalidArgument, match=r"sha256:x: .*\$\.layers\[0\]\.size"):
        image.decode(b'{"config": {}, "layers": [{"size": "many"}]}', Manifest, "sha256:x")


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"config": {}, "manifests": []}, Manifest),
        ({"manifests": [], "layers": []}, Index),
        ({"manifests": [], "config": {}}, Index),
        ({"config": {}, "fsLayers": []}, Manifest),
    ],
)
def test_a_document_that_is_two_kinds_at_once_is_refused(document: object, kind: type[Manifest]) -> None:
    with pytest.raises(InvalidArgument, match="media-type"):
        image.decode(json.dumps(document).encode(), kind)


def test_limits_are_kept() -> None:
    with pytest.raises(InvalidArgument, match="limit"):
        image.decode(b" " * (image.MAX_DOCUMENT + 1), Index)
    with pytest.raises(InvalidArgument, match="manifests"):
        image.decode(b'{"manifests": [%s]}' % b",".join([b"{}"] * (image.MAX_CHILDREN + 1)), Index)
    with pytest.raises(InvalidArgument):
        image.decode(b"[" * 100_000, Index)


@given(st.binary(max_size=200))
def test_any_bytes_are_either_a_document_or_an_invalid_argument(data: bytes) -> None:
    try:
        image.decode(data, Index)
        image.decode(data, Manifest)
    except ContainerdError as error:
        assert isinstance(error, InvalidArgument)


def test_a_chain_id_hashes_the_chain_below_and_the_diff_id() -> None:
    first, second = of(b"1"), of(b"2")
    assert image.chain_id([]) == ""
    assert image.chain_id([first]) == first
    assert image.chain_id([first, second]) == f"sha256:{hashlib.sha256(f'{first} {second}'.encode()).hexdigest()}"


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        (image.LAYER, ""),
        (image.LAYER_GZIP, "gzip"),
        (image.LAYER_ZSTD, "zstd"),
        (image.DOCKER_LAYER, None),
        (image.DOCKER_LAYER + ".gzip", "gzip"),
        (image.LAYER + "+encrypted", ""),
    ],
)
def test_the_media_type_tells_the_compression(media_type: str, expected: str | None) -> None:
    assert image.compression(media_type) == expected
    assert image.is_layer(media_type)


def test_what_is_no_layer_has_no_compression() -> None:
    with pytest.raises(Unimplemented, match="unrecognised mediatype application/json"):
        image.compression("application/json")


def test_children_are_labelled_as_containerd_labels_them() -> None:
    layers = [descriptor(image.LAYER_GZIP, b"1"), descriptor(image.DOCKER_LAYER + ".gzip", b"2")]
    manifests = [descriptor(image.MANIFEST, b"m"), Descriptor("application/x", of(b"x"))]
    labels = image.children_labels([descriptor(image.CONFIG, b"c"), *layers, *manifests])
    prefix = "containerd.io/gc.ref.content."
    assert [key.removeprefix(prefix) for key in labels] == ["config", "l.0", "l.1", "m.0", "0"]
    assert labels[prefix + "l.1"] == of(b"2")
