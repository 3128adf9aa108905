"""What a config may not ask for is refused by name, before anything is done for it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from minicontainerd.errors import InvalidArgument, NotFound, Unimplemented
from minicontainerd.linux import apparmor
from minicontainerd.run import example, validate


def config(**changes: Any) -> Any:
    """The example config with *changes*; keys with a double underscore reach one level deeper."""
    changed: Any = copy.deepcopy(example.config())
    for key, value in changes.items():
        *outer, name = key.split("__")
        target = changed
        for each in outer:
            target = target.setdefault(each, {})
        target[name] = value
    return changed


def without(kind: str) -> list[dict[str, str]]:
    return [dict(each) for each in config()["linux"]["namespaces"] if each["type"] != kind]


def test_the_example_is_accepted() -> None:
    validate.check(config())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ociVersion": "2.0.0"}, "only 1.x"),
        ({"root": {}}, "root must be specified"),
        ({"process": None}, "process property must not be empty"),
        ({"process__cwd": ""}, "Cwd property must not be empty"),
        ({"process__cwd": "relative"}, "Cwd must be an absolute path"),
        ({"process__args": []}, "args must not be empty"),
        ({"linux__namespaces": without("uts")}, "hostname without a private UTS"),
        ({"linux__namespaces": without("mount")}, "without a private MNT"),
        ({"linux__namespaces": [{"type": "fantasy"}]}, '"fantasy" does not exist'),
        ({"linux__namespaces": [{"type": "pid"}, {"type": "pid"}]}, 'duplicated ns "pid"'),
        ({"linux__uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}, "user namespace isn't enabled"),
        ({"linux__namespaces": [*without(""), {"type": "user"}]}, "no uid or gid mappings"),
        ({"linux__timeOffsets": {"monotonic": {"secs": 1}}}, "no new time namespace"),
        ({"linux__timeOffsets": {"real": {}}, "linux__namespaces": [*without(""), {"type": "time"}]}, "only monotonic"),
        ({"linux__rootfsPropagation": "sideways"}, "rootfsPropagation=sideways"),
        ({"mounts": [{"destination": "/x", "type": "bind", "uidMappings": [{}]}]}, "both uidMappings and gidMappings"),
        ({"mounts": [{"destination": "/x", "options": ["bind", "idmap"]}]}, "there is none"),
        ({"mounts": [{"destination": "/x", "options": ["tmpcopyup"]}]}, "only a tmpfs"),
        ({"linux__netDevices": {"eth1": {}}, "linux__namespaces": without("network")}, "without a NET namespace"),
        ({"linux__netDevices": {"a/b": {}}}, "cannot be the name"),
        ({"linux__netDevices": {"eth1": {"name": "x" * 16}}}, "cannot be the name"),
        ({"linux__netDevices": {"eth1": {"name": "x"}, "eth2": {"name": "x"}}}, "two of them shall be called 'x'"),
        ({"linux__sysctl": {"vm.swappiness": "1"}}, '"vm.swappiness" is not in a separate kernel namespace'),
        ({"linux__sysctl": {"net.x": "1"}, "linux__namespaces": without("network")}, "host network namespace"),
        ({"linux__sysctl": {"kernel.sem": "1"}, "linux__namespaces": without("ipc")}, "hosts ipc namespace"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validate.check(config(**changes))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"mounts": [{"destination": "/x", "options": ["idmap"]}]}, "id-mapped"),
        ({"mounts": [{"destination": "/x", "uidMappings": [{}]}]}, "id-mapped"),
        ({"linux__intelRdt": {"closID": "x"}}, "resctrl"),
        ({"linux__mountLabel": "x"}, "mountLabel"),
        ({"process__selinuxLabel": "x"}, "SELinux"),
    ],
)
def test_what_is_left_out_here_is_said_to_be(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(Unimplemented, match=word):
        validate.check(config(**changes))


def test_a_profile_is_refused_where_the_kernel_confines_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apparmor, "is_enabled", lambda: False)
    with pytest.raises(Unimplemented, match="AppArmor is disabled"):
        validate.check(config(process__apparmorProfile="x"))
    monkeypatch.setattr(apparmor, "is_enabled", lambda: True)
    validate.check(config(process__apparmorProfile="x"))


def test_settings_of_namespaces_of_its_own_are_accepted() -> None:
    settings = {"net.ipv4.ip_forward": "1", "kernel.sem": "1", "fs.mqueue.msg_max": "1", "kernel.domainname": "x"}
    validate.check(config(linux__sysctl=settings))


def test_a_bundle_without_a_readable_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="config.json not found"):
        validate.load_config(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidArgument, match="config.json"):
        validate.load_config(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config()))
    assert validate.load_config(str(tmp_path)) == config()
