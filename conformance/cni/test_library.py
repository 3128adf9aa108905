"""What the specification asks of a runtime, asked of our library: it drives plugins that write down what they hear.

The other runtime of this seam, stock ctr, is asked in ``test_callers`` by what comes of it.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.networks import Namespace
from minicontainerd.errors import FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.linux.namespaces import inside
from minicontainerd.network import config
from minicontainerd.network.attach import Cni
from minicontainerd.network.cache import Attachment
from minicontainerd.network.failure import PluginError

RECORDS = """\
#!/bin/sh
config=$(cat)
echo "$CNI_COMMAND $(basename $0)" >> {folder}/calls
echo "$config" > {folder}/$CNI_COMMAND-$(basename $0).json
env | grep ^CNI_ | sort > {folder}/$CNI_COMMAND-$(basename $0).env
readlink /proc/self/ns/net > {folder}/namespace
[ -e {folder}/$CNI_COMMAND-$(basename $0).fails ] && {{
    echo '{{"cniVersion":"1.1.0","code":42,"msg":"'$(basename $0)' does not want to"}}'; exit 1; }}
[ $CNI_COMMAND = ADD ] && echo '{{"cniVersion":"1.1.0","interfaces":[{{"name":"of-'$(basename $0)'"}}]}}'
exit 0
"""
Calls = Callable[[], list[str]]


@pytest.fixture
def cni(tmp_path: Path) -> Cni:
    """Plugins called a, b and c."""
    for name in "abc":
        (tmp_path / name).write_text(RECORDS.format(folder=tmp_path))
        (tmp_path / name).chmod(0o755)
    return Cni([str(tmp_path)], cache=tmp_path / "cache")


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    """What was run since the last look."""

    def calls() -> list[str]:
        path = tmp_path / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return lines

    return calls


@pytest.fixture
def told(tmp_path: Path) -> Callable[[str], Any]:
    return lambda name: json.loads((tmp_path / f"{name}.json").read_text())


def network(*plugins: dict[str, Any], **more: Any) -> config.Network:
    plugins = plugins or tuple({"type": name} for name in "abc")
    return config.parse(json.dumps({"cniVersion": "1.1.0", "name": "web", "plugins": plugins, **more}).encode())


ONE = Attachment("c1", "/run/netns/blue", "eth0", (("K", "V"),), {"mac": "02:00:00:00:00:01", "ips": []})


@pytest.mark.clause(
    "cni.order.add", "cni.request.inserted", "cni.order.stored", "cni.config.one-network", "cni.exec.stdin"
)
def test_add_goes_through_the_list(cni: Cni, calls: Calls, told: Callable[[str], Any]) -> None:
    result = cni.add(network(), ONE)
    assert calls() == ["ADD a", "ADD b", "ADD c"]
    assert "prevResult" not in told("ADD-a")
    for name, before in (("b", "a"), ("c", "b")):
        assert told(f"ADD-{name}")["prevResult"]["interfaces"] == [{"name": f"of-{before}"}]
        assert (told(f"ADD-{name}")["cniVersion"], told(f"ADD-{name}")["name"]) == ("1.1.0", "web")
    assert result["interfaces"] == [{"name": "of-c"}]
    [known] = Cni(cni.path, cache=cni.cache.folder).attachments()  # as a caller of tomorrow finds it
    assert known.finished and known.result == result


@pytest.mark.clause("cni.order.delete", "cni.del.previous", "cni.del.without-previous")
def test_del_goes_backwards_with_the_final_result(cni: Cni, calls: Calls, told: Callable[[str], Any]) -> None:
    cni.add(network(), ONE)
    calls()
    cni.delete(network(), ONE)
    assert calls() == ["DEL c", "DEL b", "DEL a"]
    for name in "abc":
        assert told(f"DEL-{name}")["prevResult"]["interfaces"] == [{"name": "of-c"}]
    cni.delete(network(), ONE)
    assert calls() == ["DEL c", "DEL b", "DEL a"] and "prevResult" not in told("DEL-a")


@pytest.mark.clause("cni.order.check", "cni.check.result", "cni.check.same-parameters", "cni.check.previous")
def test_check_goes_through_the_list_with_the_final_result(
    cni: Cni, calls: Calls, told: Callable[[str], Any], tmp_path: Path
) -> None:
    cni.add(network(), ONE)
    calls()
    cni.check(network(), Attachment("c1", "/run/netns/blue"))
    assert calls() == ["CHECK a", "CHECK b", "CHECK c"]
    for name in "abc":
        assert told(f"CHECK-{name}")["prevResult"]["interfaces"] == [{"name": "of-c"}]
        added, checked = ((tmp_path / f"{command}-{name}.env").read_text() for command in ("ADD", "CHECK"))
        assert checked == added.replace("CNI_COMMAND=ADD", "CNI_COMMAND=CHECK")


@pytest.mark.clause("cni.life.parameters", "cni.exec.parameters")
def test_all_parameters_are_variables(cni: Cni, tmp_path: Path) -> None:
    cni.add(network(), ONE)
    assert set((tmp_path / "ADD-a.env").read_text().split()) == {
        "CNI_COMMAND=ADD",
        "CNI_CONTAINERID=c1",
        "CNI_NETNS=/run/netns/blue",
        "CNI_IFNAME=eth0",
        "CNI_ARGS=K=V",
        f"CNI_PATH={tmp_path}",
    }


@pytest.mark.clause(
    "cni.request.capabilities", "cni.request.runtime-config", "cni.config.unknown-keys", "cni.request.reserved"
)
def test_what_a_plugin_is_given(cni: Cni, told: Callable[[str], Any]) -> None:
    plugin = {"type": "a", "capabilities": {"mac": True, "ips": False, "dns": True}, "free": {"form": [1, None]}}
    cni.add(network({**plugin, "cni.dev/own": 1}), ONE)
    assert told("ADD-a") == {
        "type": "a",
        "free": {"form": [1, None]},
        "cniVersion": "1.1.0",
        "name": "web",
        "runtimeConfig": {"mac": "02:00:00:00:00:01"},
    }


@pytest.mark.clause("cni.order.add-error", "cni.life.delete-after-failure")
def test_an_error_ends_add_and_is_followed_by_del(cni: Cni, calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "ADD-b.fails").touch()
    with pytest.raises(PluginError, match="b does not want to") as caught:
        cni.add(network(), ONE)
    assert caught.value.code_of_plugin == 42
    assert calls() == ["ADD a", "ADD b", "DEL c", "DEL b", "DEL a"]
    assert cni.attachments() == []


@pytest.mark.clause("cni.order.delete-error", "cni.order.check")
@pytest.mark.parametrize(("command", "expected"), [("DEL", ["DEL c", "DEL b"]), ("CHECK", ["CHECK a", "CHECK b"])])
def test_an_error_ends_del_and_check(cni: Cni, calls: Calls, tmp_path: Path, command: str, expected: list[str]) -> None:
    cni.add(network(), ONE)
    calls()
    (tmp_path / f"{command}-b.fails").touch()
    with pytest.raises(PluginError, match="b does not want to"):
        (cni.delete if command == "DEL" else cni.check)(network(), ONE)
    assert calls() == expected
    assert len(cni.attachments()) == 1  # so that it can be deleted later


@pytest.mark.clause("cni.gc.continue", "cni.gc.input", "cni.gc.no-substitute", "cni.gc.removes")
def test_gc_deletes_what_is_stale_tells_the_rest_and_goes_on_after_errors(
    cni: Cni, calls: Calls, told: Callable[[str], Any], tmp_path: Path
) -> None:
    cni.add(network(), ONE)
    cni.add(network(), Attachment("c2", "/run/netns/red"))
    calls()
    (tmp_path / "GC-a.fails").touch()
    (tmp_path / "GC-c.fails").touch()
    with pytest.raises(ExceptionGroup) as caught:
        cni.collect(network(), [("c2", "eth0")])
    assert len(caught.value.exceptions) == 2
    assert calls() == ["DEL c", "DEL b", "DEL a", "GC a", "GC b", "GC c"]
    assert told("GC-b")["cni.dev/valid-attachments"] == [{"containerID": "c2", "ifname": "eth0"}]
    assert [known.attachment.container_id for known in cni.attachments()] == ["c2"]


@pytest.mark.clause("cni.status.ready", "cni.status.not-relied-on")
def test_status_asks_every_plugin(cni: Cni, calls: Calls, tmp_path: Path) -> None:
    cni.status(network())
    assert calls() == ["STATUS a", "STATUS b", "STATUS c"]
    (tmp_path / "STATUS-b.fails").touch()
    with pytest.raises(PluginError, match="b does not want to"):
        cni.status(network())
    cni.status(network(cniVersion="1.0.0"))  # which has no such question
    assert calls() == ["STATUS a", "STATUS b"]


@pytest.mark.clause("cni.config.disable-check", "cni.config.disable-gc")
def test_what_is_disabled_is_not_called(cni: Cni, calls: Calls) -> None:
    quiet = network(disableCheck=True, disableGC=True)
    cni.add(quiet, ONE)
    calls()
    cni.check(quiet, ONE)
    cni.collect(quiet, [])
    assert calls() == []


@pytest.mark.clause("cni.check.only-added", "cni.add.once", "cni.check.version")
def test_what_may_not_be_called_is_not(cni: Cni, calls: Calls) -> None:
    with pytest.raises(FailedPrecondition):
        cni.check(network(), ONE)
    cni.add(network(), ONE)
    with pytest.raises(FailedPrecondition, match="already"):
        cni.add(network(), ONE)
    cni.delete(network(), ONE)
    calls()
    with pytest.raises(FailedPrecondition):
        cni.check(network(), ONE)
    with pytest.raises(FailedPrecondition, match="no CHECK"):
        cni.check(network(cniVersion="0.3.1"), ONE)
    assert calls() == []


@pytest.mark.clause("cni.order.missing-program")
def test_a_plugin_that_is_not_found_is_an_error(cni: Cni) -> None:
    with pytest.raises(NotFound, match='"nowhere"'):
        cni.add(network({"type": "a"}, {"type": "nowhere"}), ONE)


@pytest.mark.clause("cni.exec.domain")
def test_plugins_run_where_the_runtime_is(cni: Cni, host: Namespace, tmp_path: Path) -> None:
    with inside(host.descriptor):
        cni.add(network(), ONE)
        here = subprocess.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True).stdout
    assert (tmp_path / "namespace").read_text() == here


@pytest.mark.clause("cni.config.highest-version")
@pytest.mark.parametrize(
    ("offered", "spoken"),
    [
        ({"cniVersion": "0.4.0"}, "0.4.0"),
        ({"cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.0.0"]}, "1.0.0"),
        ({"cniVersion": "1.0.0", "cniVersions": ["9.9.9", "1.1.0"]}, "1.1.0"),
    ],
)
def test_the_highest_version_is_spoken(
    cni: Cni, told: Callable[[str], Any], offered: dict[str, Any], spoken: str
) -> None:
    cni.add(network({"type": "a"}, **offered), ONE)
    assert told("ADD-a")["cniVersion"] == spoken


@pytest.mark.clause("cni.config.more-plugins", "cni.config.only-inlined")
def test_plugins_from_elsewhere_come_last(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "10.conf").write_text('{"type": "b"}')
    text = {"cniVersion": "1.1.0", "name": "web", "plugins": [{"type": "a"}]}
    for more, kinds in (({}, ["a", "b"]), ({"loadOnlyInlinedPlugins": True}, ["a"])):
        (tmp_path / "web.conflist").write_text(json.dumps({**text, **more}))
        assert [plugin["type"] for plugin in config.load(tmp_path / "web.conflist").plugins] == kinds
    (tmp_path / "web.conflist").write_text('{"name": "web", "loadOnlyInlinedPlugins": true}')
    with pytest.raises(InvalidArgument):
        config.load(tmp_path / "web.conflist")


@pytest.mark.clause("cni.config.name", "cni.config.type", "cni.config.one-network")
@pytest.mark.parametrize(
    "bad", [{"name": ""}, {"name": "../x"}, {"plugins": [{"type": "a/b"}]}, {"plugins": [{}]}, {"plugins": []}]
)
def test_what_is_no_configuration_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        network(**bad)


@pytest.mark.clause("cni.exec.container-id")
def test_ids_and_names_that_cannot_be_are_refused() -> None:
    for id, ifname in (("", "eth0"), ("a/b", "eth0"), ("-a", "eth0"), ("a", ""), ("a", "x" * 16), ("a", "a/b")):
        with pytest.raises(InvalidArgument):
            Attachment(id, "/run/netns/blue", ifname)


SLOW = """\
#!/bin/sh
cat > /dev/null
echo "$CNI_CONTAINERID begins" >> {log}
sleep 0.2
echo "$CNI_CONTAINERID ends" >> {log}
"""


@pytest.mark.clause("cni.life.exclusive", "cni.life.gc-alone", "cni.life.concurrent")
def test_one_thing_at_a_time_for_a_container_and_gc_alone(tmp_path: Path) -> None:
    (tmp_path / "slow").write_text(SLOW.format(log=tmp_path / "log"))
    (tmp_path / "slow").chmod(0o755)
    cni, slow = Cni([str(tmp_path)], cache=tmp_path / "cache"), network({"type": "slow"})
    work: list[Callable[[], None]] = [
        *(lambda: cni.delete(slow, Attachment("same", "")) for _ in range(3)),
        *(lambda number=number: cni.delete(slow, Attachment(f"other{number}", "")) for number in range(3)),
        lambda: cni.collect(slow, []),
    ]
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert len(lines) == 14
    running: set[str] = set()
    together = 0
    for words in lines:
        name, what = ("gc", words[0]) if len(words) == 1 else (words[0], words[1])
        if what == "begins":
            assert name not in running and not (running and name == "gc") and "gc" not in running
            running.add(name)
            together = max(together, len(running))
        else:
            running.remove(name)
    assert together > 1  # different containers do not wait for each other
