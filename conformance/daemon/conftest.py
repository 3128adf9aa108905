"""Daemons, a registry and an image; and the proof that nothing is left behind."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .. import images, leaks
from ..peers import DAEMONS, Ctr, docker_registry

Start = Callable[[str], Ctr]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the session's token in its path, so that every mount and process below it can be found."""
    return tmp_path_factory.mktemp(leaks.TOKEN)


@pytest.fixture(scope="session")
def no_leaks(folder: Path) -> Iterator[None]:
    """After everything else of this seam has ended, nothing of it is left."""
    leaks.become_subreaper()
    before = leaks.remains()
    fifos = set(Path("/run/containerd/fifo").glob("*"))
    yield
    leaks.remove_empty_parents()
    left = leaks.new_remains(before, seconds=10)
    left |= {f"fifo {path}" for path in _abandoned(set(Path("/run/containerd/fifo").glob("*")) - fifos)}
    assert not left, "\n".join(["left behind:", *sorted(left)])


def _abandoned(folders: set[Path]) -> set[Path]:
    """Those that are still there after a while; other clients on this host make some too, and remove them."""
    for _ in range(100):
        folders = {folder for folder in folders if folder.exists()}
        if not folders:
            break
        time.sleep(0.1)
    return folders


@pytest.fixture(scope="session")
def start(folder: Path, no_leaks: None) -> Iterator[Start]:
    """Start a daemon by name; the same one for the whole session."""
    started: dict[str, Ctr] = {}
    with ExitStack() as stack:

        def start(name: str) -> Ctr:
            if name not in started:
                (folder / name).mkdir()
                started[name] = stack.enter_context(DAEMONS[name](folder / name))
            # shims of two daemons share /run/containerd/runc and /run/containerd/s, which are divided by namespace
            return started[name].within(f"{leaks.TOKEN}-{name}")

        yield start


@pytest.fixture(scope="session")
def image(folder: Path, no_leaks: None) -> Iterator[str]:
    """The reference of the busybox image at a registry of our own."""
    with docker_registry(folder) as host:
        ref = f"{host}/busybox:1"
        source = f"oci:{images.busybox()}:busybox"
        subprocess.run(["skopeo", "copy", "--quiet", "--dest-tls-verify=false", source, f"docker://{ref}"], check=True)
        yield ref


@pytest.fixture(scope="session")
def ctr(start: Start, image: str, pytestconfig: pytest.Config) -> Iterator[Ctr]:
    """The client (stock ctr, unless another is asked for) against the target, with the image pulled."""
    client = start(str(pytestconfig.getoption("--target"))).by(str(pytestconfig.getoption("--client")))
    client("images", "pull", "--plain-http", image)
    yield client
    client("images", "rm", "--sync", image)


@pytest.fixture(scope="session")
def fifos(folder: Path) -> str:
    """Where ctr is to make the FIFOs of what it leaves running: it never removes those."""
    return str(folder / "fifo")


@pytest.fixture
def container(ctr: Ctr, image: str, fifos: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A container that sleeps, called by its id."""
    id = f"c-{abs(hash(request.node.name)) % 10**8}"
    ctr("run", "--detach", "--fifo-dir", fifos, image, id, "sleep", "1000")
    yield id
    ctr.run("tasks", "rm", "--force", id)
    ctr.run("containers", "rm", id)
