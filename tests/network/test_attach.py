"""The library drives real plugins: Debian's, in namespaces of the test's own; and programs that misbehave."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.networks import REFERENCE, Namespace, namespaces
from minicontainerd.errors import FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.linux.namespaces import inside
from minicontainerd.network import config
from minicontainerd.network.attach import Cni
from minicontainerd.network.cache import Attachment
from minicontainerd.network.failure import PluginError

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not REFERENCE.is_dir(), reason=f"needs root, and {REFERENCE}")

BAD = {
    "garbage": "#!/bin/sh\necho 'all is well'\n",
    "hangs": "#!/bin/sh\nexec sleep 1000\n",
    "dies": "#!/bin/sh\nkill -SEGV $$\n",
    "silent": "#!/bin/sh\nexit 3\n",
    "talks": "#!/bin/sh\nyes\n",
    "complains": "#!/bin/sh\necho 'no such luck' >&2\nexit 1\n",
    "refuses": '#!/bin/sh\necho \'{"cniVersion":"1.0.0","code":11,"msg":"later","details":"much"}\'\nexit 1\n',
    "lists": "#!/bin/sh\necho '[]'\n",
    "holds": '#!/bin/sh\nsleep 5 &\necho \'{"cniVersion":"1.0.0"}\'\n',
    "kills": "#!/bin/sh\n[ $CNI_COMMAND = ADD ] && kill -KILL $PPID; exit 0\n",
    "not-a-program": "what is this\n",
    "records": '#!/bin/sh\ncat > "$RECORDS/$CNI_COMMAND.json"\nenv | grep ^CNI_ > "$RECORDS/$CNI_COMMAND.env"\n'
    '[ $CNI_COMMAND = ADD ] && echo \'{"cniVersion":"1.0.0"}\'; exit 0\n',
}


@pytest.fixture
def make() -> Iterator[Callable[[], Namespace]]:
    with namespaces() as make:
        yield make


@pytest.fixture
def host(make: Callable[[], Namespace]) -> Iterator[Namespace]:
    """The test itself is in this namespace, as a caller of plugins is in the host's."""
    namespace = make()
    with inside(namespace.descriptor):
        yield namespace


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in BAD.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def cni(tmp_path: Path, plugins: Path) -> Cni:
    return Cni([str(REFERENCE), str(plugins)], cache=tmp_path / "cache", seconds=20)


def network(tmp_path: Path, *more: dict[str, Any], version: str = "1.0.0") -> config.Network:
    bridge = {
        "type": "bridge",
        "bridge": "mini0",
        "isGateway": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(tmp_path / "leases"),
            "ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd09::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    }
    return config.parse(json.dumps({"cniVersion": version, "name": "web", "plugins": [bridge, *more]}).encode())


def leases(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "leases" / "web").glob("[0-9f]*"))


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_a_container_is_added_checked_and_deleted(
    cni: Cni, host: Namespace, make: Callable[[], Namespace], tmp_path: Path, version: str
) -> None:
    container = make()
    web = network(tmp_path, {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.log_martians": "1"}}, version=version)
    attachment = Attachment("c1", container.path)
    result = cni.add(web, attachment)
    assert [each["address"] for each in result["ips"]] == ["10.9.0.2/24", "fd09::2/64"]
    assert container.addresses("eth0") == ["10.9.0.2/24", "fd09::2/64"]
    assert container.setting("ipv4/conf/eth0/log_martians") == "1"
    if version == "0.3.1":
        with pytest.raises(FailedPrecondition, match="no CHECK"):
            cni.check(web, attachment)
    else:
        cni.check(web, attachment)
    with pytest.raises(FailedPrecondition, match="already"):
        cni.add(web, attachment)
    cni.delete(web, attachment)
    assert "eth0" not in container.links() and leases(tmp_path) == [] and cni.attachments() == []
    cni.delete(web, attachment)


def test_check_tells_what_is_missing(cni: Cni, host: Namespace, make: Callable[[], Namespace], tmp_path: Path) -> None:
    container = make()
    web, attachment = network(tmp_path), Attachment("c1", container.path)
    cni.add(web, attachment)
    container.run("ip", "address", "del", "10.9.0.2/24", "dev", "eth0")
    with pytest.raises(PluginError, match=r"bridge.*10\.9\.0\.2"):
        cni.check(web, attachment)
    cni.delete(web, attachment)


def test_delete_works_when_the_namespace_is_gone(
    cni: Cni, host: Namespace, make: Callable[[], Namespace], tmp_path: Path
) -> None:
    container = make()
    web = network(tmp_path)
    cni.add(web, Attachment("c1", container.path))
    container.close()
    cni.delete(web, Attachment("c1", ""))
    assert leases(tmp_path) == []


def test_only_asked_for_capabilities_are_passed_on(
    cni: Cni, host: Namespace, make: Callable[[], Namespace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDS", str(tmp_path))
    monkeypatch.setenv("CNI_LEFTOVER", "of our own caller")
    plugin = {"type": "records", "capabilities": {"mac": True, "ips": False}, "free": {"form": [1, 2]}}
    web = config.parse(json.dumps({"cniVersion": "1.0.0", "name": "web", "plugins": [plugin]}).encode())
    attachment = Attachment("c1", make().path, "net7", (("K", "V"),), {"mac": "02:00:00:00:00:01", "ips": ["10.0.0.1"]})
    cni.add(web, attachment)
    told = json.loads((tmp_path / "ADD.json").read_text())
    assert told == {
        "type": "records",
        "free": {"form": [1, 2]},
        "cniVersion": "1.0.0",
        "name": "web",
        "runtimeConfig": {"mac": "02:00:00:00:00:01"},
    }
    assert set((tmp_path / "ADD.env").read_text().split()) == {
        "CNI_COMMAND=ADD",
        "CNI_CONTAINERID=c1",
        f"CNI_NETNS={attachment.netns}",
        "CNI_IFNAME=net7",
        "CNI_ARGS=K=V",
        f"CNI_PATH={':'.join(cni.path)}",
    }
    # DEL is told what ADD was told, even by a caller that forgot, or an administrator that changed the file.
    cni.delete(network(tmp_path), Attachment("c1", "", "net7"))
    undone = json.loads((tmp_path / "DEL.json").read_text())
    assert undone == {**told, "prevResult": {"cniVersion": "1.0.0", "dns": {}}}
    assert "CNI_ARGS=K=V" in (tmp_path / "DEL.env").read_text()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("garbage", "garbage.*not JSON"),
        ("hangs", "hangs.*did not end within 1 seconds"),
        ("dies", "dies.*SIGSEGV"),
        ("silent", "silent.*exited with 3; it said nothing"),
        ("talks", "talks.*printed more than"),
        ("complains", "complains.*no such luck"),
        ("refuses", r"refuses: later; much \(code 11: not now; try again later\)"),
        ("lists", "lists.*must be a JSON object"),
        ("not-a-program", "not-a-program.*cannot be run"),
    ],
)
def test_a_plugin_that_misbehaves_is_named_and_what_was_done_before_it_is_undone(
    cni: Cni, host: Namespace, make: Callable[[], Namespace], tmp_path: Path, kind: str, words: str
) -> None:
    container = make()
    cni.seconds = 1 if kind == "hangs" else 20
    web = network(tmp_path, {"type": kind})
    with pytest.raises(PluginError, match=words):
        cni.add(web, Attachment("c1", container.path))
    # DEL halts at the first plugin that fails: what is left is remembered, and goes when the list is mended.
    if cni.attachments():
        (tmp_path / "bin" / kind).write_text("#!/bin/sh\nexit 0\n")
        cni.delete(web, Attachment("c1", container.path))
    assert "eth0" not in container.links() and leases(tmp_path) == [] and cni.attachments() == []


def test_a_child_that_keeps_the_pipe_open_keeps_nobody_waiting(
    cni: Cni, host: Namespace, make: Callable[[], Namespace], tmp_path: Path
) -> None:
    cni.seconds = 4  # less than the child sleeps
    web = config.parse(b'{"cniVersion": "1.0.0", "name": "web", "plugins": [{"type": "holds"}]}')
    assert cni.add(web, Attachment("c1", make().path))["ips"] == []


def test_a_plugin_that_is_not_there_is_told_with_the_folders(cni: Cni, make: Callable[[], Namespace]) -> None:
    web = config.parse(b'{"cniVersion": "1.0.0", "name": "web", "plugins": [{"type": "nowhere"}]}')
    with pytest.raises(NotFound, match=f'"nowhere" in {REFERENCE}'):
        cni.add(web, Attachment("c1", make().path))


def test_garbage_is_collected_for_attachments_that_are_no_longer_valid(
    cni: Cni, host: Namespace, make: Callable[[], Namespace], tmp_path: Path
) -> None:
    containers = [make() for _ in range(3)]
    web = network(tmp_path)
    for number, container in enumerate(containers):
        cni.add(web, Attachment(f"c{number}", container.path))
    assert len(leases(tmp_path)) == 6
    cni.collect(web, [("c1", "eth0")])
    assert [known.attachment.container_id for known in cni.attachments()] == ["c1"]
    assert [len(container.links()) for container in containers] == [1, 2, 1]
    cni.collect(web, [])
    assert leases(tmp_path) == []


def test_the_reference_plugins_tell_their_versions(cni: Cni) -> None:
    assert cni.versions("bridge") == ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")


def test_a_caller_killed_in_the_middle_leaves_word_of_what_to_undo(
    cni: Cni, host: Namespace, make: Callable[[], Namespace], tmp_path: Path
) -> None:
    container = make()
    web, attachment = network(tmp_path, {"type": "kills"}), Attachment("c1", container.path)
    child = os.fork()
    if child == 0:
        cni.add(web, attachment)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    [known] = cni.attachments()
    assert not known.finished and len(leases(tmp_path)) == 2
    cni.collect(web, [])
    assert leases(tmp_path) == [] and "eth0" not in container.links() and cni.attachments() == []


@pytest.mark.parametrize("ifname", ["", "a" * 16, "a/b", "a:b", "a b", ".", ".."])
def test_a_name_that_no_interface_can_have_is_refused(ifname: str) -> None:
    with pytest.raises(InvalidArgument):
        Attachment("c1", "/n", ifname)


@pytest.mark.parametrize("id", ["", "-a", "a/b", "../x", "a b"])
def test_an_id_that_would_be_another_file_is_refused(id: str) -> None:
    with pytest.raises(InvalidArgument):
        Attachment(id, "/n")
