"""A registry with an image so small that it can be pulled a thousand times; and the proof that nothing is left."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .. import images, leaks
from ..peers import docker_registry
from .daemon import Mortal


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the session's token in its path; when the test is over, nothing of it is left anywhere."""
    leaks.become_subreaper()
    folder = tmp_path_factory.mktemp(leaks.TOKEN)
    before = leaks.remains(folder)
    yield folder
    leaks.remove_empty_parents()
    left = leaks.new_remains(before, seconds=15, folder=folder)
    assert not left, "\n".join(["left behind:", *sorted(left)])


@pytest.fixture
def image(folder: Path) -> Iterator[str]:
    """The reference of an image of two small layers."""
    with docker_registry(folder) as host:
        source = f"oci:{images.tiny(folder / 'layout')}:tiny"
        command = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", source, f"docker://{host}/tiny:1"]
        subprocess.run(command, check=True)
        yield f"{host}/tiny:1"


@pytest.fixture
def daemon(folder: Path, image: str) -> Iterator[Mortal]:
    """A daemon on that folder, which runs."""
    daemon = Mortal(folder)
    daemon.start()
    yield daemon
    daemon.stop()
