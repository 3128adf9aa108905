"""Real callers: stock ``ctr run --cni``, and ours, which takes the same folders.

The daemon is the real one, if not another is asked for; it has no part in this. The client runs in the network
namespace that plays the host, and sees a private /etc/cni/net.d, /opt/cni/bin and /var/lib/cni: those paths are built
into ctr.
"""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conformance import images, leaks
from conformance.cni.harness import Config
from conformance.networks import Namespace
from conformance.patience import wait_until
from conformance.peers import DAEMONS, Ctr, docker_registry
from minicontainerd.linux.namespaces import inside

# Not a loop of `echo hello | nc -l`: such a server misses a caller between two rounds, and ends without a word if the
# caller's end of file comes before its own echo.
SERVE = ("nc", "-ll", "-p", "80", "-e", "echo", "hello")

SCRIPT = """\
#!/bin/sh
exec nsenter --net={netns} unshare --mount --propagation private sh -c '
mount -t overlay overlay -o lowerdir=/etc,upperdir={folder}/etc,workdir={folder}/work /etc &&
mount --bind {folder}/etc/cni/net.d /etc/cni/net.d &&
mount -t tmpfs tmpfs /opt && mkdir -p /opt/cni && ln -s {plugins} /opt/cni/bin &&
mount -t overlay overlay -o lowerdir=/var/lib,upperdir={folder}/lib,workdir={folder}/work2 /var/lib &&
exec {program} "$@"' -- "$@"
"""


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """In place of the look after each test there is one when the daemon has ended: it may keep processes ready."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Ctr]:
    """The real containerd, or with ``--target`` another daemon, with an image."""
    folder = tmp_path_factory.mktemp(leaks.TOKEN)
    leaks.become_subreaper()
    before = leaks.remains()
    with ExitStack() as stack:
        (folder / "registry").mkdir()
        host = stack.enter_context(docker_registry(folder / "registry"))
        ref = f"{host}/busybox:1"
        source = f"oci:{images.busybox()}:busybox"
        subprocess.run(["skopeo", "copy", "--quiet", "--dest-tls-verify=false", source, f"docker://{ref}"], check=True)
        ctr = stack.enter_context(DAEMONS[str(pytestconfig.getoption("--target"))](folder)).within(f"{leaks.TOKEN}-cni")
        ctr("images", "pull", "--plain-http", ref)
        yield ctr
        ctr("images", "rm", "--sync", ref)
    leaks.remove_empty_parents()
    left = {line for line in leaks.new_remains(before, seconds=10) if line.startswith("process")}
    assert not left, "\n".join(["left behind:", *sorted(left)])


@pytest.fixture
def image(daemon: Ctr) -> str:
    return daemon("images", "ls", "-q").strip()


@pytest.fixture(params=["ctr", "minictr"])
def client(
    request: pytest.FixtureRequest, daemon: Ctr, host: Namespace, folder: Path, network: Config, tmp_path: Path
) -> Ctr:
    """A client that finds the plugins under test, and one network."""
    here = tmp_path / "private"
    for name in ("etc/cni/net.d", "lib", "work", "work2"):
        (here / name).mkdir(parents=True)
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    # ctr deletes without naming the namespace, and then the reference leaves the rules of ipMasq.
    bridge = {key: value for key, value in network.items() if key not in ("name", "cniVersion")} | {"ipMasq": False}
    plugins = [bridge, portmap]
    config = {"cniVersion": "1.0.0", "name": "web", "plugins": [*plugins, {"type": "firewall"}]}
    (here / "etc/cni/net.d/10-web.conflist").write_text(json.dumps(config))
    beside = Path(sys.executable).parent / request.param
    program = str(beside) if beside.exists() else shutil.which(request.param)
    script = tmp_path / "client"
    values = {"netns": host.path, "folder": here, "plugins": folder, "program": shlex.quote(str(program))}
    script.write_text(SCRIPT.format(**values))
    script.chmod(0o755)
    return daemon.by(str(script))


@pytest.mark.clause("cni.caller.ctr", "cni.exec.domain")
def test_a_container_is_attached_while_it_runs_and_detached_after(
    client: Ctr, image: str, host: Namespace, leases: Callable[[], list[str]]
) -> None:
    told = client("run", "--rm", "--cni", image, "c1", "sh", "-c", "ip addr show dev eth0; ip route")
    assert "inet 10.9.0.2/24" in told and "inet6 fd09::2/64" in told and "default via 10.9.0.1" in told
    assert leases() == []
    assert set(host.links()) == {"lo", "mini0"} and not host.has("10.9.0.2")


@pytest.mark.clause("cni.caller.ctr")
def test_containers_reach_each_other_and_the_host_reaches_them(
    client: Ctr, image: str, host: Namespace, leases: Callable[[], list[str]]
) -> None:
    client("run", "--detach", "--cni", image, "server", *SERVE)
    try:
        wait_until(lambda: "hello" in fetch(host, "10.9.0.2"), "the server in the container answers the host")
        fetched = client("run", "--rm", "--cni", image, "asks", "nc", "10.9.0.2", "80")
        assert fetched.strip() == "hello"
    finally:
        client("tasks", "kill", "--signal", "9", "server")
        client.wait_stopped("server")
        client("tasks", "rm", "server")
        client("containers", "rm", "server")
    if "minictr" in Path(client.program).read_text():  # ctr forgets those that it does not stay with
        assert leases() == [] and set(host.links()) == {"lo", "mini0"}


@pytest.mark.clause("cni.caller.ctr", "cni.exec.exit-code")
def test_a_plugin_that_fails_ends_the_run(client: Ctr, image: str, host: Namespace) -> None:
    host.run("ip", "link", "add", "mini0", "type", "veth", "peer", "name", "other")
    ended = client.run("run", "--rm", "--cni", image, "c1", "true")
    assert ended.code == 1 and "mini0" in ended.err
    if "minictr" not in Path(client.program).read_text():  # ctr leaves the container and its process
        client("tasks", "rm", "--force", "c1")
        client("containers", "rm", "c1")
    assert "c1" not in client("containers", "ls", "-q").split()
    assert client("tasks", "ls", "-q").split() == []


def fetch(namespace: Namespace, address: str, port: int = 80) -> str:
    """What a server sends at once."""
    with inside(namespace.descriptor):
        caller = socket.socket()
    with caller:
        caller.settimeout(2)
        try:
            caller.connect((address, port))
            return caller.recv(100).decode()
        except OSError:
            return ""


@pytest.fixture
def minictr(client: Ctr) -> Ctr:
    if "minictr" not in Path(client.program).read_text():
        pytest.skip("ctr has no such flag")
    return client


@pytest.mark.clause("cni.caller.ctr", "cni.portmap.reaches")
def test_a_port_is_published(
    minictr: Ctr, image: str, host: Namespace, outside: Namespace, leases: Callable[[], list[str]]
) -> None:
    minictr("run", "--detach", "--net", "web", "--publish", "8080:80", image, "server", *SERVE)
    try:
        wait_until(lambda: "hello" in fetch(outside, "192.0.2.1", 8080), "the published port answers")
        tree = minictr("network", "inspect", "web")
        assert "mini0  10.9.0.1" in tree and "server  10.9.0.2/24, fd09::2/64  8080 → 80/tcp" in tree
        [row] = minictr("network", "ls").splitlines()[1:]
        assert row.split() == ["web", "1.0.0", "bridge,portmap,firewall", "1"]
        minictr("network", "inspect", "--svg", str(leaks_free(minictr) / "web.svg"), "web")
        picture = (leaks_free(minictr) / "web.svg").read_text()
        assert picture.startswith("<svg") and "10.9.0.2/24" in picture
    finally:
        minictr("tasks", "rm", "--force", "server")
        minictr("containers", "rm", "server")
    assert leases() == [] and not host.has("8080")
    assert "nobody is attached" in minictr("network", "inspect", "web")


def leaks_free(client: Ctr) -> Path:
    return Path(client.program).parent


@pytest.mark.clause("cni.caller.ctr")
def test_files_of_etc_are_filled(minictr: Ctr, image: str) -> None:
    script = "cat /etc/hosts /etc/hostname; hostname"
    told = minictr("run", "--rm", "--cni", "--etc-files", "--hostname", "box", image, "c1", "sh", "-c", script)
    assert "10.9.0.2 box" in told and "fd09::2 box" in told and told.splitlines()[-2:] == ["box", "box"]
    assert not list(Path("/run/minicontainerd/etc").glob(f"{leaks.TOKEN}*"))


@pytest.mark.clause("cni.caller.ctr")
def test_explain_tells_the_steps_and_the_commands(minictr: Ctr, image: str, folder: Path, ours: Path) -> None:
    ended = minictr.run("run", "--rm", "--cni", "--explain", image, "c1", "true")
    assert ended.code == 0 and "ADD by the plugin bridge" in ended.err
    if folder == ours:
        for command in (
            "ip link add name mini0 type bridge",
            "ip -n CONTAINER address add 10.9.0.2/24 dev eth0",
            "nft -f -",
        ):
            assert command in ended.err


@pytest.mark.clause("cni.caller.ctr")
def test_what_is_not_to_be_had_is_said_before_anything_is_made(minictr: Ctr, image: str) -> None:
    for flags, words in (
        (("--net", "nowhere"), 'network "nowhere"'),
        (("--cni", "--publish", "80"), "HOST:CONTAINER"),
    ):
        ended = minictr.run("run", "--rm", *flags, image, "c1", "true")
        assert ended.code == 1 and words in ended.err
        assert "c1" not in minictr("containers", "ls", "-q").split()
