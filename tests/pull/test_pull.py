"""Pulling: the straight path, and every way in which a registry can leave it."""

from __future__ import annotations

import dataclasses
import os
import threading
from pathlib import Path

import pytest

from minicontainerd.errors import ContainerdError, FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.oci import image
from minicontainerd.oci.image import Descriptor
from minicontainerd.oci.platform import parse
from minicontainerd.pull.auth import AuthorizationFailed, RequestFailed
from minicontainerd.pull.pull import Pulled, Unpacking, pull
from minicontainerd.pull.registry import Options
from minicontainerd.pull.unpack import unpack
from minicontainerd.snapshot.overlayfs import OverlaySnapshotter
from minicontainerd.store.content import NamespacedContent
from tests.mounting import mounted
from tests.pull.conftest import OPTIONS, SmallImage
from tests.pull.faulty import Fault, FaultyRegistry

AMD64 = [parse("linux/amd64")]


def get(registry: FaultyRegistry, content: NamespacedContent, options: Options = OPTIONS, tag: str = "1") -> Pulled:
    saved: list[tuple[str, Descriptor]] = []
    ref = f"{registry.host}/app:{tag}"
    pulled = pull(ref, content, lambda *image: saved.append(image), options=options, wanted=AMD64)
    assert saved == [(ref, pulled.target)]
    return pulled


def all_there(content: NamespacedContent, small: SmallImage) -> bool:
    return all(content.info(blob.digest).size == blob.size for blob in (small.config, *small.layers))


def test_an_image_is_pulled_for_one_platform(
    registry: FaultyRegistry, content: NamespacedContent, small: SmallImage
) -> None:
    pulled = get(registry, content)
    assert (pulled.target, [one.digest for one in pulled.manifests]) == (small.index, [small.manifest.digest])
    assert all_there(content, small)
    assert len(list(content.walk())) == 5
    labels = content.info(small.manifest.digest).labels
    assert labels["containerd.io/gc.ref.content.config"] == small.config.digest
    assert labels["containerd.io/gc.ref.content.l.1"] == small.layers[1].digest
    assert labels["containerd.io/distribution.source.127.0.0.1"] == "app"
    assert content.info(small.index.digest).labels["containerd.io/gc.ref.content.m.1"] == small.manifest.digest
    before = len(registry.log)
    get(registry, content)
    assert registry.log[before:] == ["HEAD /v2/app/manifests/1"]  # nothing is fetched twice


def test_all_platforms_can_be_pulled(registry: FaultyRegistry, content: NamespacedContent, small: SmallImage) -> None:
    pulled = pull(f"{registry.host}/app:1", content, lambda *_: None, options=OPTIONS, wanted=[])
    assert len(pulled.manifests) == 2


def test_an_image_is_unpacked(
    registry: FaultyRegistry, content: NamespacedContent, small: SmallImage, tmp_path: Path
) -> None:
    snapshots = OverlaySnapshotter(tmp_path / "snapshots")
    unpacking = Unpacking(snapshots, "overlayfs")
    for _ in range(2):
        ref = f"{registry.host}/app:1"
        pulled = pull(ref, content, lambda *_: None, options=OPTIONS, wanted=AMD64, unpacking=unpacking)
    assert pulled.chain_id == image.chain_id(small.diff_ids)
    assert len(list(snapshots.walk())) == 2
    with mounted(snapshots.view("view", pulled.chain_id), tmp_path / "mnt") as root:
        assert sorted(os.listdir(root / "etc")) == ["other"]
    assert content.info(small.layers[1].digest).labels["containerd.io/uncompressed"] == small.diff_ids[1]
    assert content.info(small.config.digest).labels["containerd.io/gc.ref.snapshot.overlayfs"] == pulled.chain_id
    snapshots.close()


def test_a_layer_that_is_not_what_the_config_says_leaves_no_snapshot(
    registry: FaultyRegistry, content: NamespacedContent, small: SmallImage, tmp_path: Path
) -> None:
    get(registry, content)
    snapshots = OverlaySnapshotter(tmp_path / "snapshots")
    with pytest.raises(FailedPrecondition, match="wrong diff id"):
        unpack(content, snapshots, "overlayfs", small.config, small.layers[::-1])
    with pytest.raises(InvalidArgument, match="number of layers and diffIDs don't match: 1 != 2"):
        unpack(content, snapshots, "overlayfs", small.config, small.layers[:1])
    assert list(snapshots.walk()) == []
    snapshots.close()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_connection_is_resumed(
    registry: FaultyRegistry, content: NamespacedContent, small: SmallImage, ranges: bool
) -> None:
    registry.ranges = ranges
    digest, size = small.layers[0].digest, small.layers[0].size
    registry.faults = [Fault(digest, cut=size // 3), Fault(digest, cut=size // 2)]
    get(registry, content)
    assert all_there(content, small)
    asked = [line.split(" ")[2] for line in registry.log if digest in line and "bytes=" in line]
    assert len(asked) == 2
    assert asked[0] == f"bytes={size // 3}-"


def test_a_mirror_that_has_closed_the_connection_meanwhile_is_asked_again(
    registry: FaultyRegistry, content: NamespacedContent, small: SmallImage, tmp_path: Path
) -> None:
    """As Go's http.Transport does by itself: a server may close an idle connection just when it is used again."""
    (tmp_path / "example.com").mkdir()
    mirror = f'server = "http://127.0.0.1:1"\n[host."http://{registry.host}"]\n'
    (tmp_path / "example.com/hosts.toml").write_text(mirror)
    registry.faults = [Fault(small.config.digest, silent=True)]
    options = dataclasses.replace(OPTIONS, folder=tmp_path)
    pull("example.com/app:1", content, lambda *_: None, options=options, wanted=AMD64)
    assert all_there(content, small)


def test_another_pull_goes_on_where_one_has_failed(
    registry: FaultyRegistry, content: NamespacedContent, small: SmallImage
) -> None:
    digest, size = small.layers[0].digest, small.layers[0].size
    registry.faults = [Fault(digest, cut=size // 3), Fault(digest, times=20, cut=0)]
    with pytest.raises(RequestFailed, match=f"at {size // 3} of {size} bytes"):
        get(registry, content)
    registry.faults = []
    get(registry, content)
    assert f"GET /v2/app/blobs/{digest} bytes={size // 3}-" in registry.log
    assert all_there(content, small)


@pytest.mark.parametrize("wrong", ["flipped", "longer"])
def test_wrong_bytes_are_refused_and_thrown_away(
    registry: FaultyRegistry, content: NamespacedContent, small: SmallImage, wrong: str
) -> None:
    digest = small.layers[0].digest
    good = registry.blobs[digest]
    registry.faults = [Fault(digest, body=b"X" + good[1:] if wrong == "flipped" else good + b"more")]
    with pytest.raises(FailedPrecondition, match=f'failed commit on ref "layer-{digest}"'):
        get(registry, content)
    with pytest.raises(NotFound):
        content.info(digest)
    get(registry, content)
    assert all_there(content, small)


@pytest.mark.parametrize("status", [429, 503, 500])
def test_a_busy_registry_is_asked_again(
    registry: FaultyRegistry, content: NamespacedContent, small: SmallImage, status: int
) -> None:
    registry.faults = [
        Fault("/manifests/1", times=2, status=status, headers={"Retry-After": "0"}),
        Fault(small.layers[0].digest, times=2, status=status),
    ]
    get(registry, content)
    assert all_there(content, small)


def test_a_registry_that_stays_busy_is_given_up(registry: FaultyRegistry, content: NamespacedContent) -> None:
    registry.faults = [Fault("/manifests/", times=99, status=429)]
    with pytest.raises(RequestFailed, match="unexpected status from HEAD request to http.*: 429 Too Many Requests"):
        get(registry, content)
    assert len(registry.log) == 5


def test_registries_without_head_or_digest_headers(
    registry: FaultyRegistry, content: NamespacedContent, small: SmallImage
) -> None:
    registry.digests = False
    registry.faults = [Fault("/manifests/1", times=1, status=405, method="HEAD")]
    assert get(registry, content).target == small.index


def test_basic_credentials(registry: FaultyRegistry, content: NamespacedContent, small: SmallImage) -> None:
    registry.basic = "me:secret"
    options = Options(backoff=0.01, credentials=lambda host: ("me", "secret"))
    get(registry, content, options)
    with pytest.raises(AuthorizationFailed, match="pull access denied.*authorization failed: no basic"):
        get(registry, content)


@pytest.mark.parametrize(
    ("user", "password", "post"), [("", "", True), ("me", "s", True), ("me", "s", False), ("", "r", True)]
)
def test_tokens(
    registry: FaultyRegistry, content: NamespacedContent, small: SmallImage, user: str, password: str, post: bool
) -> None:
    registry.token, registry.token_post = "abc", post
    get(registry, content, Options(backoff=0.01, credentials=lambda host: (user, password)))
    assert all_there(content, small)
    first = registry.token_requests[0]
    assert (first["method"], first["service"], first["scope"]) == (
        "POST" if password else "GET",
        ["srv"],
        ["repository:app:pull"],
    )
    if password:
        assert first["grant_type"] == ["password" if user else "refresh_token"]
    if password and not post:
        assert registry.token_requests[1]["auth"].startswith("Basic ")
    assert len(registry.token_requests) <= 2  # one token serves the whole pull


def test_a_token_that_is_not_taken_is_an_error(registry: FaultyRegistry, content: NamespacedContent) -> None:
    registry.token, registry.issued = "abc", "something else"
    with pytest.raises(AuthorizationFailed, match="server message: invalid_token: authorization failed"):
        get(registry, content)


REFUSED = 'Head "http*://127.0.0.1:1/v2/app/manifests/1": dial tcp 127.0.0.1:1: connect: connection refused'


@pytest.mark.parametrize(
    ("ref", "kind", "words"),
    [
        ("{host}/app:2", NotFound, 'failed to resolve reference "{host}/app:2": {host}/app:2: not found'),
        ("{host}/app", InvalidArgument, 'failed to resolve reference "{host}/app": object required'),
        ("{host}/app@sha256:1", InvalidArgument, "invalid checksum digest length"),
        ("127.0.0.1:1/app:1", RequestFailed, REFUSED),
        ("nohost.invalid/app:1", RequestFailed, "dial tcp: lookup nohost.invalid: no such host"),
    ],
)
def test_errors_have_the_words_of_containerds_client(
    registry: FaultyRegistry, content: NamespacedContent, ref: str, kind: type[ContainerdError], words: str
) -> None:
    ref, words = ref.replace("{host}", registry.host), words.replace("{host}", registry.host)
    with pytest.raises(kind) as caught:
        pull(ref, content, lambda *_: None, options=OPTIONS)
    before, _, after = words.partition("*")
    text = str(caught.value)
    assert text.startswith(f'failed to resolve reference "{ref}": ')
    assert before in text
    assert text.endswith(after)


def test_a_reference_by_digest_is_not_trusted_to_the_registry(
    registry: FaultyRegistry, content: NamespacedContent, small: SmallImage
) -> None:
    ref = f"{registry.host}/app@{small.manifest.digest}"
    assert pull(ref, content, lambda *_: None, options=OPTIONS).target.digest == small.manifest.digest
    registry.manifests[small.index.digest] = registry.manifests["arm64"]
    with pytest.raises(ContainerdError):
        pull(f"{registry.host}/app@{small.index.digest}", content, lambda *_: None, options=OPTIONS)


@pytest.mark.usefixtures("small")
def test_an_image_for_another_platform_is_not_found(registry: FaultyRegistry, content: NamespacedContent) -> None:
    with pytest.raises(NotFound, match="no match for platform linux/s390x in manifest"):
        pull(f"{registry.host}/app:1", content, lambda *_: None, options=OPTIONS, wanted=[parse("linux/s390x")])


def test_two_pulls_at_once_fetch_once(registry: FaultyRegistry, content: NamespacedContent, small: SmallImage) -> None:
    errors: list[BaseException] = []

    def one() -> None:
        try:
            get(registry, content)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(line.startswith("GET") and small.layers[0].digest in line for line in registry.log) == 1


def test_progress_is_told(registry: FaultyRegistry, content: NamespacedContent, small: SmallImage) -> None:
    heard: list[tuple[str, str, int, int]] = []
    ref = f"{registry.host}/app:1"
    pull(ref, content, lambda *_: None, options=OPTIONS, wanted=AMD64, progress=lambda *step: heard.append(step))
    assert [status for name, status, _, _ in heard if name == ref] == ["resolving", "resolved"]
    layer = [(status, offset) for name, status, offset, _ in heard if name == f"layer-{small.layers[0].digest}"]
    assert (layer[0], layer[-1]) == (("waiting", 0), ("done", small.layers[0].size))
