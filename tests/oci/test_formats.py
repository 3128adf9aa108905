"""Digests, references and platforms: what is printed reads back, and what is wrong is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainerd.errors import ContainerdError, InvalidArgument
from minicontainerd.oci import digest, platform, reference
from minicontainerd.oci.platform import Platform

words = st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True)
paths = st.lists(words, min_size=1, max_size=4).map("/".join)
hosts = st.builds(lambda host, port: host + port, words.map(lambda w: w + ".example"), st.sampled_from(["", ":5000"]))


@given(st.binary())
def test_a_digest_of_bytes_is_valid_and_matches_only_them(data: bytes) -> None:
    name = digest.validate(digest.of(data))
    assert digest.matches(name, data)
    assert not digest.matches(name, data + b"x")


@pytest.mark.parametrize(
    "wrong", ["", "sha256", "sha256:", "sha256:abc", "md5:" + 32 * "a", "sha256:" + 64 * "A", "../sha256:" + 64 * "a"]
)
def test_what_is_no_digest_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidArgument, match="digest"):
        digest.validate(wrong)


@given(hosts, paths, st.sampled_from(["", "v1", "1.2_3"]), st.booleans())
def test_a_reference_reads_back_as_printed(host: str, path: str, tag: str, pinned: bool) -> None:
    name = digest.of(b"x") if pinned else ""
    text = f"{host}/{path}" + (tag and f":{tag}") + (name and f"@{name}")
    ref = reference.parse(text)
    assert (ref.hostname, ref.repository, ref.tag, ref.digest, str(ref)) == (host, path, tag, name, text)


@given(st.text(max_size=60))
def test_any_text_is_either_a_reference_or_an_invalid_argument(text: str) -> None:
    try:
        ref = reference.parse(text)
    except ContainerdError as error:
        assert isinstance(error, InvalidArgument)
    else:
        assert reference.parse(str(ref)).locator == ref.locator


@pytest.mark.parametrize(
    ("text", "words"),
    [("http://x/y", "invalid reference"), ("/x", "hostname required"), (":80/x", "hostname required")],
)
def test_references_that_containerd_refuses(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        reference.parse(text)


@pytest.mark.parametrize(
    ("familiar", "full"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3", "docker.io/library/alpine:3"),
        ("user/app", "docker.io/user/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("r.example:1/a/b:c", "r.example:1/a/b:c"),
    ],
)
def test_familiar_names_are_completed_as_docker_does(familiar: str, full: str) -> None:
    assert reference.normalise(familiar) == full
    assert reference.normalise(reference.familiar(full)) == full


@pytest.mark.parametrize("wrong", ["Alpine", "a//b", "a:b:c", "-x/y", "a@sha256:1", 64 * "a", "a:" + 129 * "t"])
def test_names_that_docker_refuses(wrong: str) -> None:
    with pytest.raises(InvalidArgument):
        reference.normalise(wrong)


architectures = st.sampled_from(["amd64", "386", "arm", "arm64", "riscv64", "s390x", "x86_64", "aarch64"])
variants = st.sampled_from(["", "v1", "v2", "v5", "v6", "v7", "v8", "v8.2", "v9"])
platforms = st.builds(Platform, architecture=architectures, os=st.sampled_from(["linux", "Windows"]), variant=variants)


@given(platforms)
def test_normalising_twice_is_normalising_once(any_platform: Platform) -> None:
    once = platform.normalise(any_platform)
    assert platform.normalise(once) == once
    assert platform.normalise(platform.parse(str(once))) == once


@given(platforms)
def test_every_host_runs_its_own_kind_best(any_platform: Platform) -> None:
    assert platform.rank(platform.vector(any_platform), any_platform) == (0, 0)


def test_the_best_of_an_index_comes_first() -> None:
    class Offer:
        def __init__(self, text: str) -> None:
            self.platform = platform.parse(text) if text else None

    offers = [Offer(text) for text in ("", "linux/386", "linux/arm64", "linux/amd64", "windows/amd64")]
    found = platform.best(platform.parse("linux/amd64"), offers)
    assert [str(offer.platform) for offer in found] == ["linux/amd64", "linux/386", "None"]


@pytest.mark.parametrize("wrong", ["", "*", "linux/*", "what", "linux/a/b/c", "linux/a b", "li nux"])
def test_what_is_no_platform_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidArgument):
        platform.parse(wrong)


def test_options_of_the_operating_system_are_read() -> None:
    found = platform.parse("windows(10.0.17763+win32k)/amd64")
    assert (found.os_version, found.os_features) == ("10.0.17763", ("win32k",))
