"""What a client says about networks: ports as people write them, files of /etc, a network for whoever has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from minicontainerd.client.etc_files import EtcFiles, resolv_conf
from minicontainerd.client.networking import Networking, Published, published
from minicontainerd.daemon.main import command
from minicontainerd.errors import FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.network import config, launcher
from minicontainerd.network.plugins import NAMES, skeleton


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080:80", Published(8080, 80)),
        ("53:53/udp", Published(53, 53, "udp")),
        ("127.0.0.1:8080:80", Published(8080, 80, "tcp", "127.0.0.1")),
        ("[::1]:8080:80/sctp", Published(8080, 80, "sctp", "::1")),
    ],
)
def test_ports_as_people_write_them(text: str, expected: Published) -> None:
    assert published(text) == expected


@pytest.mark.parametrize("text", ["", "80", "a:b", "80:80/icmp", "0:80", "80:65536", "80:80:80:80", "::1:80:80", ":80"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        published(text)


def test_dns_of_the_networks_or_else_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    host = str(tmp_path / "resolv.conf")
    dns = {"nameservers": ["10.1.0.1"], "search": ["a.example", "b.example"], "options": ["ndots:2"]}
    assert resolv_conf([dns], host) == "nameserver 10.1.0.1\nsearch a.example b.example\noptions ndots:2\n"
    assert resolv_conf([{}], host) == "nameserver 192.0.2.53\n"
    assert resolv_conf([{}], str(tmp_path / "missing")) == ""


def test_files_are_made_filled_in_place_and_removed(tmp_path: Path) -> None:
    files = EtcFiles("default-web", str(tmp_path))
    assert len(files.make()) == 3
    before = (tmp_path / "default-web" / "hosts").stat().st_ino
    files.fill("web", [{"ips": [{"address": "10.1.0.5/16"}], "dns": {}}])
    assert "10.1.0.5 web" in (tmp_path / "default-web" / "hosts").read_text()
    assert (tmp_path / "default-web" / "hosts").stat().st_ino == before  # or a mount would still show the old one
    files.remove()
    files.remove()
    assert list(tmp_path.iterdir()) == []


def test_install_puts_programs_in_place_and_configures_a_network_once(tmp_path: Path) -> None:
    words = ["cni", "install", "--network", "--conf-dir", str(tmp_path / "net.d"), str(tmp_path / "bin")]
    done = CliRunner().invoke(command, words, catch_exceptions=False)
    assert done.exit_code == 0 and len(done.output.splitlines()) == len(NAMES) + 1
    [network] = config.networks(tmp_path / "net.d")
    assert (network.name, network.version) == ("minicontainerd", "1.1.0")
    again = CliRunner().invoke(command, words, catch_exceptions=False)
    assert len(again.output.splitlines()) == len(NAMES)


def test_ours_are_known_to_the_letter_and_can_be_called(tmp_path: Path) -> None:
    launcher.install(tmp_path, NAMES)
    program = str(tmp_path / "host-local")
    assert launcher.is_ours(program)
    asked = {"CNI_COMMAND": "VERSION"}
    called = skeleton.called(program, asked, {"cniVersion": "1.0.0"})
    (tmp_path / "host-local").write_text(launcher.text("host-local") + "\n# changed\n")
    assert not launcher.is_ours(program) and not launcher.is_ours("/bin/true")
    assert skeleton.called(program, asked, {"cniVersion": "1.1.0"})["supportedVersions"] == called["supportedVersions"]


def test_which_network_is_meant(tmp_path: Path) -> None:
    networking = Networking(str(tmp_path), ["/nowhere"], tmp_path / "cache")
    with pytest.raises(FailedPrecondition, match="cni install --network"):
        networking.choose([])
    config.write_default(tmp_path)
    assert [network.name for network in networking.choose([])] == ["minicontainerd"]
    with pytest.raises(NotFound):
        networking.choose(["web"])
    with pytest.raises(InvalidArgument, match="cannot publish"):
        networking.attach("default", "c1", 1, [config.parse(b'{"name": "n", "type": "ptp"}')], [Published(1, 1)])
