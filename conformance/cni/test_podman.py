"""Another real caller: podman, with its network backend set to CNI, runs a container on the plugins under test.

It writes the network's configuration itself, and gives what ctr never does: ``ips`` and ``portMappings`` by
capabilities. Everything of it is below one folder, and it runs in the network namespace that plays the host. All of
its commands share one mount namespace, for it binds the containers' network namespaces to names there.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import images
from conformance.networks import Namespace

CONFIG = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "cni"
cni_plugin_dirs = ["{plugins}"]
network_config_dir = "{folder}/net.d"
"""

SCRIPT = """
set -e
mount --bind {folder}/lib /var/lib
podman() {{
    command podman --root {folder}/root --runroot {folder}/run --storage-driver vfs \\
        --network-config-dir {folder}/net.d "$@"
}}
podman load --quiet --input {folder}/busybox.tar > {folder}/log
podman network create --subnet 10.44.0.0/24 played >> {folder}/log
podman run --detach --name serves --net played --ip 10.44.0.9 --publish 127.0.0.1:8080:80 busybox:1 \\
    nc -ll -p 80 -e echo hello >> {folder}/log
podman exec serves ip -o -4 addr show eth0
for place in "10.44.0.9 80" "127.0.0.1 8080"; do
    for try in 1 2 3 4 5 6 7 8 9; do
        busybox nc $place && break
        sleep 0.2
    done
done
podman rm --force --time 0 serves >> {folder}/log
ip -o link show type veth
nft list ruleset | grep 10.44.0.9 || true
podman network rm played >> {folder}/log
podman rmi --all --force >> {folder}/log
echo done
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name: podman makes sockets in it."""
    with tempfile.TemporaryDirectory(prefix="podman-") as name:
        yield Path(name)


@pytest.mark.clause("cni.request.runtime-config")
def test_podman_runs_a_container_with_a_published_port(short: Path, folder: Path, host: Namespace) -> None:
    for name in ("net.d", "lib"):
        (short / name).mkdir()
    (short / "containers.conf").write_text(CONFIG.format(plugins=folder, folder=short))
    source = f"oci:{images.busybox()}:busybox"
    subprocess.run(["skopeo", "copy", "--quiet", source, f"docker-archive:{short}/busybox.tar:busybox:1"], check=True)
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT.format(folder=short)]
    said = host.run(*unshare, CONTAINERS_CONF=str(short / "containers.conf")).splitlines()
    assert "inet 10.44.0.9/24" in said[0]
    assert said[1:] == ["hello", "hello", "done"]
