"""Fixtures of the runtime seam."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .. import leaks
from .harness import Container, Runtime, make_rootfs

Make = Callable[[], Container]


@pytest.fixture(scope="session")
def program(pytestconfig: pytest.Config) -> str:
    """The runtime's path. ``minirunc`` is looked for beside this Python first."""
    name = str(pytestconfig.getoption("--runtime"))
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise pytest.UsageError(f"no runtime {name!r} on this host")
    return found


@pytest.fixture(scope="session", autouse=True)
def subreaper() -> None:
    if os.geteuid() != 0:
        pytest.skip("the runtimes need root")
    leaks.become_subreaper()


@pytest.fixture
def runtime(program: str, tmp_path: Path) -> Runtime:
    return Runtime(program, tmp_path)


@pytest.fixture(autouse=True)
def no_leaks(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever the test did, nothing of it is left."""
    folder = tmp_path_factory.getbasetemp()
    before = leaks.remains(folder)
    yield
    remove_parents()
    left = leaks.new_remains(before, folder=folder)
    for group in leaks.cgroups_named(leaks.TOKEN):
        group.rmdir()  # so that the next test does not find it again; what lives in one is told by an error
    assert not left, "\n".join(["left behind:", *sorted(left)])


def remove_parents() -> None:
    """The cgroup that every cgroupsPath here begins with: runtimes leave it, in each tree there is."""
    for tree in ("", *os.listdir("/sys/fs/cgroup")):
        parent = Path("/sys/fs/cgroup", tree, leaks.TOKEN)
        if parent.is_dir() and not any(path.is_dir() for path in parent.iterdir()):
            parent.rmdir()


@pytest.fixture
def make(runtime: Runtime, tmp_path: Path, no_leaks: None) -> Iterator[Make]:
    """Containers to be configured by the test; they are deleted afterwards, whatever became of them."""
    made: list[Container] = []

    def make() -> Container:
        bundle = tmp_path / f"bundle-{len(made)}"
        make_rootfs(bundle / "rootfs")
        made.append(Container(runtime, bundle))
        return made[-1]

    yield make
    for container in reversed(made):  # one may live in the namespaces of an earlier one
        container.end()


@pytest.fixture
def container(make: Make) -> Container:
    return make()


@pytest.fixture
def running(container: Container) -> Container:
    """A container whose program sleeps."""
    return container.args("sleep", "1000").create().start()


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Path]:
    """A network namespace that belongs to the host's user namespace, by a path."""
    path = tmp_path / "network"
    path.touch()
    subprocess.run(["unshare", f"--net={path}", "true"], check=True)
    yield path
    subprocess.run(["umount", path], check=True)
