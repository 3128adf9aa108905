"""The exec protocol: what any plugin must do, asked of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance.cni.conftest import Attach
from conformance.cni.harness import Answer, Config, Plugins
from conformance.networks import Namespace

KINDS = ["bridge", "host-local", "loopback", "portmap", "firewall"]


@pytest.fixture
def configs(network: Config, tmp_path: Path) -> dict[str, Config]:
    """A configuration that each plugin takes."""
    more = {"loopback": {}, "host-local": {"ipam": network["ipam"]}, "portmap": {}, "firewall": {}}
    return {
        "bridge": network,
        **{kind: {"cniVersion": "1.0.0", "name": "web", "type": kind, **config} for kind, config in more.items()},
    }


def failed(answer: Answer, code: int | None = None) -> dict[str, Any]:
    """The error that the plugin told."""
    assert answer.code != 0
    assert isinstance(answer.said, dict), answer
    assert isinstance(answer.said["code"], int) and answer.said["msg"]
    if code is not None:
        assert answer.said["code"] == code
    return answer.said


@pytest.mark.clause("cni.version.output", "cni.version.input")
@pytest.mark.parametrize("kind", KINDS)
def test_version_tells_what_is_supported(plugins: Plugins, kind: str) -> None:
    said = plugins.call("VERSION", {"cniVersion": "1.0.0", "type": kind}).result
    assert isinstance(said["cniVersion"], str)
    assert {"0.4.0", "1.0.0"} <= set(said["supportedVersions"])


@pytest.mark.clause("cni.exec.exit-code", "cni.error.version", "cni.error.form")
@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_version_is_refused_with_code_1(
    plugins: Plugins, configs: dict[str, Config], host: Namespace, kind: str
) -> None:
    config = {**configs[kind], "cniVersion": "99.0.0"}
    failed(plugins.call("ADD", config, containerid="c1", netns="/proc/none", ifname="eth0"), 1)


@pytest.mark.clause("cni.error.environment", "cni.exec.parameters")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", ["containerid", "netns", "ifname"])
def test_a_missing_variable_is_named_with_code_4(
    plugins: Plugins, configs: dict[str, Config], kind: str, missing: str
) -> None:
    variables: dict[str, str | None] = {"containerid": "c1", "netns": "/proc/none", "ifname": "eth0", missing: None}
    said = failed(plugins.call("ADD", configs[kind], **variables), 4)
    assert f"CNI_{missing.upper()}" in said["msg"] + said.get("details", "")


@pytest.mark.clause("cni.error.environment")
@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_command_is_an_error(plugins: Plugins, configs: dict[str, Config], kind: str) -> None:
    failed(plugins.call("DANCE", configs[kind], containerid="c1", netns="/proc/none", ifname="eth0"), 4)


@pytest.mark.clause("cni.exec.container-id")
@pytest.mark.parametrize("id", ["-x", "a/b", "../../etc", "a b"])
def test_an_id_that_is_none_is_refused(plugins: Plugins, network: Config, id: str) -> None:
    failed(plugins.call("ADD", network, containerid=id, netns="/proc/none", ifname="eth0"), 4)


@pytest.mark.clause("cni.exec.ifname")
@pytest.mark.parametrize("ifname", ["a/b", "way-too-long-name", ".", "..", "a:b", "a b"])
def test_a_name_that_no_interface_can_have_is_refused(plugins: Plugins, network: Config, ifname: str) -> None:
    failed(plugins.call("ADD", network, containerid="c1", netns="/proc/none", ifname=ifname), 4)


@pytest.mark.clause("cni.error.decode", "cni.exec.stdin")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'"web"'])
def test_what_is_no_configuration_is_refused_with_code_6(plugins: Plugins, kind: str, text: bytes) -> None:
    answer = plugins.call("ADD", text, type=kind, containerid="c1", netns="/proc/none", ifname="eth0")
    failed(answer, 6)


@pytest.mark.clause("cni.error.config", "cni.config.name")
@pytest.mark.parametrize("name", ["", "../web", "a b", None])
def test_a_network_without_a_name_is_refused_with_code_7(plugins: Plugins, network: Config, name: str | None) -> None:
    config = {key: value for key, value in {**network, "name": name}.items() if value is not None}
    failed(plugins.call("ADD", config, containerid="c1", netns="/proc/none", ifname="eth0"), 7)


@pytest.mark.clause("cni.add.exists")
def test_add_refuses_a_name_that_is_taken(plugins: Plugins, attach: Attach, network: Config) -> None:
    first = attach()
    again = plugins.call("ADD", network, containerid="other", netns=first.netns, ifname="eth0")
    failed(again)
    assert first.container.addresses("eth0") == ["10.9.0.2/24", "fd09::2/64"]


@pytest.mark.clause("cni.result.version", "cni.add.result")
@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0", "1.0.0"])
def test_the_result_is_of_the_version_that_was_asked_for(attach: Attach, network: Config, version: str) -> None:
    result = attach({**network, "cniVersion": version}).result
    assert result["cniVersion"] == version
    families = [each.get("version") for each in result["ips"]]
    assert families == ([None, None] if version == "1.0.0" else ["4", "6"])


@pytest.mark.clause("cni.result.version")
@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_the_result_of_old_has_one_address_of_each_family(attach: Attach, network: Config, version: str) -> None:
    result = attach({**network, "cniVersion": version}).result
    assert result["cniVersion"] == version
    assert result["ip4"]["ip"] == "10.9.0.2/24" and result["ip6"]["ip"] == "fd09::2/64"
    assert [route["dst"] for route in result["ip4"]["routes"]] == ["0.0.0.0/0"]


@pytest.mark.clause("cni.result.interfaces", "cni.result.ips", "cni.result.routes")
def test_the_result_tells_what_is_there(attach: Attach, host: Namespace) -> None:
    attached = attach()
    result, links = attached.result, {**host.links()}
    bridge, port, mine = result["interfaces"]
    assert bridge["name"] == "mini0" and bridge["mac"] == links["mini0"]["address"] and not bridge.get("sandbox")
    assert port["mac"] == links[port["name"]]["address"] and links[port["name"]]["master"] == "mini0"
    assert (mine["name"], mine["sandbox"]) == ("eth0", attached.netns)
    assert mine["mac"] == attached.container.links()["eth0"]["address"]
    assert [(each["address"], each["gateway"], each["interface"]) for each in result["ips"]] == [
        ("10.9.0.2/24", "10.9.0.1", 2),
        ("fd09::2/64", "fd09::1", 2),
    ]
    assert [route["dst"] for route in result["routes"]] == ["0.0.0.0/0", "::/0"]


@pytest.mark.clause("cni.result.ipam")
def test_ipam_leaves_interfaces_out(plugins: Plugins, configs: dict[str, Config]) -> None:
    result = plugins.call("ADD", configs["host-local"], containerid="c1", netns="/proc/none", ifname="eth0").result
    assert not result.get("interfaces")
    assert all("interface" not in each for each in result["ips"])


@pytest.mark.clause("cni.add.previous", "cni.result.pass-through")
@pytest.mark.parametrize("kind", ["loopback", "portmap", "firewall"])
def test_a_previous_result_passes_through(
    plugins: Plugins, attach: Attach, configs: dict[str, Config], kind: str
) -> None:
    attached = attach()
    answer = plugins.call(
        "ADD", {**configs[kind], "prevResult": attached.result}, containerid="c0", netns=attached.netns, ifname="eth0"
    )
    assert answer.result == attached.result
    plugins.call(
        "DEL", {**configs[kind], "prevResult": attached.result}, containerid="c0", netns=attached.netns, ifname="eth0"
    )


@pytest.mark.clause("cni.add.previous")
@pytest.mark.parametrize("kind", ["portmap", "firewall"])
def test_what_works_only_in_a_chain_says_so(plugins: Plugins, configs: dict[str, Config], make: Any, kind: str) -> None:
    failed(plugins.call("ADD", configs[kind], containerid="c1", netns=make().path, ifname="eth0"))


@pytest.mark.clause("cni.del.twice", "cni.del.best-effort", "cni.del.without-previous")
@pytest.mark.parametrize("kind", KINDS)
def test_del_of_what_is_not_there_works(plugins: Plugins, configs: dict[str, Config], make: Any, kind: str) -> None:
    for netns in (make().path, "", "/proc/none/ns/net"):
        for _ in range(2):
            assert plugins.call("DEL", configs[kind], containerid="c1", netns=netns, ifname="eth0").code == 0


@pytest.mark.clause("cni.check.version")
@pytest.mark.parametrize("kind", KINDS)
def test_check_needs_version_0_4_0(plugins: Plugins, configs: dict[str, Config], make: Any, kind: str) -> None:
    config = {**configs[kind], "cniVersion": "0.3.1"}
    failed(plugins.call("CHECK", config, containerid="c1", netns=make().path, ifname="eth0"), 1)


@pytest.mark.clause("cni.delegate.environment", "cni.delegate.configuration", "cni.delegate.path")
def test_ipam_is_run_with_everything_that_the_plugin_was_told(
    plugins: Plugins, attach: Attach, network: Config, tmp_path: Path
) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "records").write_text(
        f"#!/bin/sh\ncat > {tmp_path}/$CNI_COMMAND.json\nenv | grep ^CNI_ | sort > {tmp_path}/$CNI_COMMAND.env\n"
        'echo "a word" >&2\n[ $CNI_COMMAND = ADD ] && '
        'echo \'{"cniVersion":"1.0.0","ips":[{"address":"10.5.0.7/24","gateway":"10.5.0.1"}],'
        '"routes":[{"dst":"10.6.0.0/16","gw":"10.5.0.9"}],"dns":{"nameservers":["10.5.0.1"]}}\'; exit 0\n'
    )
    (folder / "records").chmod(0o755)
    plugins.path = [*plugins.path, folder]
    plugins.environment["CNI_ARGS"] = "IgnoreUnknown=1;K=V"
    config = {**network, "ipam": {"type": "records", "free": [1]}, "ipMasq": False}
    attached = attach(config)
    assert json.loads((tmp_path / "ADD.json").read_text()) == config
    told = dict(line.split("=", 1) for line in (tmp_path / "ADD.env").read_text().splitlines())
    assert (told["CNI_CONTAINERID"], told["CNI_NETNS"], told["CNI_IFNAME"]) == ("c0", attached.netns, "eth0")
    assert told["CNI_ARGS"] == "IgnoreUnknown=1;K=V" and told["CNI_PATH"].endswith(str(folder))
    [route] = [each for each in attached.container.ip("route") if each["dst"] == "10.6.0.0/16"]
    assert route["gateway"] == "10.5.0.9"
    for command, answers in (("CHECK", attached.check()), ("DEL", attached.try_delete())):
        assert [answer.code for answer in answers] == [0] and "a word" in answers[0].err
        assert (tmp_path / f"{command}.json").exists()


@pytest.mark.clause("cni.delegate.failure", "cni.delegate.undo")
def test_a_failure_of_ipam_is_told_and_leaves_nothing(
    plugins: Plugins, network: Config, make: Any, tmp_path: Path, host: Namespace
) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "fails").write_text(
        f"#!/bin/sh\necho $CNI_COMMAND >> {tmp_path}/calls\n"
        'echo \'{"cniVersion":"1.0.0","code":101,"msg":"no luck today"}\'; exit 1\n'
    )
    (folder / "fails").chmod(0o755)
    plugins.path = [*plugins.path, folder]
    container = make()
    config = {**network, "ipam": {"type": "fails"}}
    said = failed(plugins.call("ADD", config, containerid="c1", netns=container.path, ifname="eth0"))
    assert "no luck today" in said["msg"]
    failed(plugins.call("DEL", config, containerid="c1", netns=container.path, ifname="eth0"))
    assert set(container.links()) == {"lo"} and not [name for name in host.links() if name.startswith("veth")]


@pytest.mark.clause("cni.exec.netns")
def test_a_namespace_that_is_not_there_is_an_error(plugins: Plugins, network: Config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("/proc/none/ns/net", str(tmp_path / "file")):
        failed(plugins.call("ADD", network, containerid="c1", netns=path, ifname="eth0"))
    assert not [*(tmp_path / "leases").glob("*/10.*")]
