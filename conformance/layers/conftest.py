"""One registry, one real containerd and one image for the whole run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import images, leaks
from conformance.peers import Ctr, containerd, docker_registry


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for everything; afterwards nothing is mounted below it, and nobody is at work in it."""
    leaks.become_subreaper()
    folder = tmp_path_factory.mktemp("layers")
    before = leaks.remains(folder)
    yield folder
    left = leaks.new_remains(before, seconds=10, folder=folder)
    assert not left, "\n".join(["left behind:", *sorted(left)])


@pytest.fixture(scope="session")
def image(work: Path) -> Iterator[str]:
    """The reference of the big Debian image at a registry of our own."""
    with docker_registry(work) as host:
        ref = f"{host}/debian:3-layers"
        source = f"oci:{images.debian()}:debian"
        subprocess.run(["skopeo", "copy", "--quiet", "--dest-tls-verify=false", source, f"docker://{ref}"], check=True)
        yield ref


@pytest.fixture(scope="session")
def oracle(work: Path) -> Iterator[Ctr]:
    """The real containerd."""
    (work / "containerd").mkdir()
    with containerd(work / "containerd") as ctr:
        yield ctr
