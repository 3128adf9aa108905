"""Fixtures of the plugin seam: namespaces that play host, containers and the outside; the folder under test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance import leaks
from conformance.cni.harness import Attached, Config, Plugins
from conformance.networks import Namespace, connected, namespaces
from minicontainerd.network import launcher
from minicontainerd.network.plugins import NAMES

Attach = Callable[..., Attached]


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our plugins, installed."""
    folder = tmp_path_factory.mktemp("plugins")
    launcher.install(folder, NAMES)
    return folder


@pytest.fixture(scope="session")
def folder(pytestconfig: pytest.Config, ours: Path) -> Path:
    """The plugins under test."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    name = str(pytestconfig.getoption("cni_plugins"))
    found = ours if name == "minicontainerd" else Path(name)
    if not (found / "bridge").exists():
        raise pytest.UsageError(f"no CNI plugins in {found}")
    return found


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """No process is left. Interfaces, rules and leases are looked for where a test is about them: they cannot leave
    its namespaces and its folder."""
    leaks.become_subreaper()
    before = leaks.remains()
    yield
    left = {line for line in leaks.new_remains(before) if line.startswith("process")}
    assert not left, "\n".join(["left behind:", *sorted(left)])


@pytest.fixture
def make() -> Iterator[Callable[[], Namespace]]:
    with namespaces() as make:
        yield make


@pytest.fixture
def host(make: Callable[[], Namespace]) -> Namespace:
    """The namespace that plugins are called from. Nobody else is there, so IPv6 need not look for duplicates."""
    namespace = make()
    namespace.set("ipv6/conf/default/accept_dad", "0")
    return namespace


@pytest.fixture
def outside(host: Namespace, make: Callable[[], Namespace]) -> Iterator[Namespace]:
    """A neighbour of the host that knows nothing of networks behind it."""
    world = make()
    with connected(host, world):
        yield world


@pytest.fixture
def plugins(folder: Path, host: Namespace) -> Plugins:
    return Plugins([folder], host)


@pytest.fixture
def ipam(tmp_path: Path) -> Config:
    """Dual stack, with default routes."""
    return {
        "type": "host-local",
        "dataDir": str(tmp_path / "leases"),
        "ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd09::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    }


@pytest.fixture
def network(ipam: Config) -> Config:
    """A bridge with everything that is usual."""
    return {
        "cniVersion": "1.0.0",
        "name": "web",
        "type": "bridge",
        "bridge": "mini0",
        "isGateway": True,
        "ipMasq": True,
        "ipam": ipam,
    }


@pytest.fixture
def attach(plugins: Plugins, make: Callable[[], Namespace], network: Config) -> Attach:
    """Attach a new container to a network, the usual one if none is given."""
    count = iter(range(1000))

    def attach(*configs: Config, container: Namespace | None = None, **options: Any) -> Attached:
        id = options.pop("id", f"c{next(count)}")
        attached = Attached(plugins, list(configs) or [network], container or make(), id, **options)
        attached.add()
        return attached

    return attach


@pytest.fixture
def leases(tmp_path: Path) -> Callable[[], list[str]]:
    """Who has which address."""

    def leases() -> list[str]:
        return sorted(path.name for path in (tmp_path / "leases").glob("*/[0-9f]*") if path.is_file())

    return leases
