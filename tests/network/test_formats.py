"""Configurations and results, as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicontainerd.errors import InvalidArgument, NotFound
from minicontainerd.network import config
from minicontainerd.network.result import read, written
from minicontainerd.network.versions import SUPPORTED, choose

ADDRESSES = st.sampled_from(["10.1.0.5/16", "192.0.2.7/32", "fd00::5/64", "2001:db8::1/128"])
IPS = st.builds(lambda address: {"address": address}, ADDRESSES) | st.builds(
    lambda address, index: {"address": address, "interface": index}, ADDRESSES, st.integers(0, 1)
)
RESULTS = st.fixed_dictionaries(
    {
        "cniVersion": st.just("1.1.0"),
        "interfaces": st.just(
            [{"name": "cni0"}, {"name": "eth0", "sandbox": "/run/netns/a", "mac": "02:00:00:00:00:01"}]
        ),
        "ips": st.lists(IPS, max_size=3),
        "routes": st.lists(st.sampled_from([{"dst": "0.0.0.0/0"}, {"dst": "fd01::/64", "gw": "fd00::1"}]), max_size=2),
        "dns": st.sampled_from([{}, {"nameservers": ["10.1.0.1"], "search": ["a.example"]}]),
    }
)


@given(RESULTS, st.sampled_from(["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]))
def test_what_every_version_can_say_survives_both_ways(result: dict[str, Any], version: str) -> None:
    told = json.loads(json.dumps(written(result, version)))
    assert told["cniVersion"] == version
    assert read(told) == result
    assert written(read(told), version) == told


def test_going_down_loses_what_there_are_no_words_for() -> None:
    result = read(
        {
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "eth0", "mtu": 1400, "pciID": "0000:00:01.0"}],
            "ips": [{"address": "10.0.0.2/24"}],
            "routes": [{"dst": "10.2.0.0/16", "mtu": 1300, "priority": 5}],
        }
    )
    older = written(result, "0.4.0")
    assert older["interfaces"] == [{"name": "eth0"}] and older["routes"] == [{"dst": "10.2.0.0/16"}]
    assert older["ips"] == [{"version": "4", "address": "10.0.0.2/24"}]
    assert written(result, "1.1.0")["interfaces"][0]["mtu"] == 1400


def test_the_oldest_form_has_one_address_of_each_family() -> None:
    old = {
        "cniVersion": "0.2.0",
        "ip4": {"ip": "10.0.0.2/24", "gateway": "10.0.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
        "ip6": {"ip": "fd00::2/64"},
        "dns": {},
    }
    result = read(old)
    assert result["ips"] == [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}, {"address": "fd00::2/64"}]
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]
    assert written(result, "0.2.0")["ip4"]["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]
    with pytest.raises(InvalidArgument, match="without an address"):
        written(read({"cniVersion": "1.0.0"}), "0.1.0")


@pytest.mark.parametrize(
    "bad",
    [
        [],
        {"cniVersion": "7.0.0"},
        {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.300/24"}]},
        {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.3/24", "interface": 5}], "interfaces": [{"name": "a"}]},
        {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.3/24", "gateway": "here"}]},
        {"cniVersion": "1.0.0", "routes": [{"dst": "everywhere"}]},
        {"cniVersion": "1.0.0", "interfaces": [{}]},
        {"cniVersion": "1.0.0", "dns": []},
        {"cniVersion": "1.0.0", "ips": {}},
    ],
)
def test_an_impossible_result_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidArgument):
        read(bad)


def test_the_highest_version_known_to_both_is_spoken() -> None:
    def version(**keys: Any) -> str:
        return config.parse(json.dumps({"name": "n", "plugins": [{"type": "t"}], **keys}).encode()).version

    assert version(cniVersion="0.4.0") == "0.4.0"
    assert version(cniVersion="0.4.0", cniVersions=["1.0.0", "0.3.1"]) == "1.0.0"
    assert version(cniVersions=["1.0.0", "1.1.0", "9.9.9"]) == SUPPORTED[-1] == choose(SUPPORTED)
    assert version() == "0.1.0"
    for bad in ({"cniVersion": "9.0.0"}, {"cniVersion": 1}, {"cniVersions": "1.0.0"}, {"cniVersion": "one"}):
        with pytest.raises(InvalidArgument):
            version(**bad)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"plugins": [{"type": "a"}]}', "name"),
        ('{"name": "../etc", "plugins": [{"type": "a"}]}', "name"),
        ('{"name": "a b", "plugins": [{"type": "a"}]}', "name"),
        ('{"name": "n", "plugins": []}', "no plugins"),
        ('{"name": "n", "plugins": {}}', "must be a list"),
        ('{"name": "n", "plugins": [{}]}', "with a type"),
        ('{"name": "n", "plugins": [{"type": "../sh"}]}', "name of a file"),
        ('{"name": "n", "plugins": [{"type": "a", "capabilities": []}]}', "capabilities"),
        ('{"name": "n", "plugins": [{"type": "a"}], "disableCheck": "perhaps"}', "disableCheck"),
        ('{"name": "n", "loadOnlyInlinedPlugins": true}', "inlined"),
    ],
)
def test_what_is_no_configuration_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "10-n.conflist").write_text(text)
    with pytest.raises(InvalidArgument, match=f"10-n.conflist.*{words}"):
        config.load(tmp_path / "10-n.conflist")


def test_files_are_found_in_order_and_a_broken_one_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "20-b.conf").write_text('{"cniVersion": "0.4.0", "name": "b", "type": "ptp"}')
    (tmp_path / "10-a.conflist").write_text('{"cniVersion": "1.0.0", "name": "a", "plugins": [{"type": "t"}]}')
    (tmp_path / "05-broken.conflist").write_text("{")
    (tmp_path / "notes.txt").write_text("no network")
    assert [path.name for path in config.files(tmp_path)] == ["05-broken.conflist", "10-a.conflist", "20-b.conf"]
    assert config.find("a", tmp_path).plugins == ({"type": "t"},)
    single = config.find("b", tmp_path)
    assert (single.version, single.plugins[0]["type"]) == ("0.4.0", "ptp")
    with pytest.raises(NotFound, match="05-broken"):
        config.find("c", tmp_path)
    assert config.networks(tmp_path / "missing") == []


def test_more_plugins_come_from_the_folder_named_after_the_network(tmp_path: Path) -> None:
    text = {"cniVersion": "1.1.0", "name": "web", "plugins": [{"type": "first"}]}
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "20.conf").write_text('{"type": "third"}')
    (tmp_path / "web" / "10.conf").write_text('{"type": "second", "key": 1}')
    (tmp_path / "web.conflist").write_text(json.dumps(text))
    assert [plugin["type"] for plugin in config.load(tmp_path / "web.conflist").plugins] == ["first", "second", "third"]
    (tmp_path / "web.conflist").write_text(json.dumps({**text, "loadOnlyInlinedPlugins": True}))
    assert [plugin["type"] for plugin in config.load(tmp_path / "web.conflist").plugins] == ["first"]
    del text["plugins"]
    (tmp_path / "web.conflist").write_text(json.dumps(text))
    assert [plugin["type"] for plugin in config.load(tmp_path / "web.conflist").plugins] == ["second", "third"]
