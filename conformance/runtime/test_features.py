"""What a runtime says of itself by ``features``, held against what it does."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from minicontainerd.linux.capabilities import NAMES, bounding

from .conftest import Make
from .harness import Container, Failure, Runtime


@pytest.fixture
def features(runtime: Runtime) -> dict[str, Any]:
    """What it says; a runtime need not say anything."""
    try:
        found: dict[str, Any] = json.loads(runtime("features"))
    except Failure as failure:
        if "unknown command" not in failure.message:
            raise
        pytest.skip("this runtime has no command features, and need not have it")
    return found


def key(version: str) -> tuple[int, ...]:
    """For comparing: numbers, and a version that is still in the making before the one that is made."""
    numbers, dash, _ = version.partition("-")
    return (*map(int, numbers.split(".")), 0 if dash else 1)


@pytest.mark.clause("features.there", "features.versions.given", "features.versions.ordered")
def test_the_lowest_version_is_not_above_the_highest(features: dict[str, Any]) -> None:
    assert key(features["ociVersionMin"]) <= key(features["ociVersionMax"])


@pytest.mark.clause("features.versions.min-accepted", "features.versions.max-accepted")
@pytest.mark.parametrize("end", ["Min", "Max"])
def test_a_config_of_either_version_is_accepted(container: Container, features: dict[str, Any], end: str) -> None:
    container.config["ociVersion"] = features[f"ociVersion{end}"]
    assert container.shell("echo ran").run() == "ran\n"


SINCE = {  # the properties of each version of the specification that has them
    (1, 1): "ociVersionMin ociVersionMax hooks mountOptions linux annotations",
    (1, 2): "potentiallyUnsafeConfigAnnotations",
}
LINUX_SINCE = {
    (1, 1): "namespaces capabilities cgroup seccomp apparmor selinux intelRdt",
    (1, 2): "mountExtensions",
    (1, 3): "memoryPolicy netDevices",
}


@pytest.mark.clause("features.versions.known-properties", "features.linux", "features.optional")
def test_it_has_no_property_that_its_highest_version_has_not(features: dict[str, Any]) -> None:
    highest = max(key(features["ociVersionMax"])[:2], (1, 1))  # the structure came with 1.1
    for table, since in ((features, SINCE), (features.get("linux") or {}, LINUX_SINCE)):
        known = {word for version, words in since.items() if version <= highest for word in words.split()}
        assert table.keys() <= known


@pytest.mark.clause("features.hooks.supported")
def test_every_hook_that_is_listed_is_called(container: Container, features: dict[str, Any]) -> None:
    mark = container.bundle / "called"
    hook = container.rootfs / "hook"
    hook.write_text('#!/bin/sh\necho "$1" >> "$2"\n')
    hook.chmod(0o755)
    mark.touch()
    (container.rootfs / "called").touch()
    container.config["mounts"].append({"destination": "/called", "source": str(mark), "options": ["bind"]})
    kinds = features["hooks"]
    inside = {"startContainer"}
    container.config["hooks"] = {
        kind: [{"path": "/hook", "args": ["hook", kind, "/called"], "env": ["PATH=/bin"]}]
        if kind in inside
        else [{"path": str(hook), "args": ["hook", kind, str(mark)], "env": ["PATH=/usr/bin:/bin"]}]
        for kind in kinds
    }
    container.run()
    assert sorted(mark.read_text().split()) == sorted(kinds)


OF_THE_MOUNT = {"remount", "bind", "rbind", "idmap", "ridmap", "tmpcopyup", "copy"}
"""These do something else than change a tmpfs that is being made."""


@pytest.mark.clause("features.mount-options.recognized", "features.mount-options.no-data")
def test_every_mount_option_that_is_listed_is_known(container: Container, features: dict[str, Any]) -> None:
    """A tmpfs refuses what it does not know, so whatever passes was not handed to it."""
    for number, option in enumerate(sorted({*features["mountOptions"]} - OF_THE_MOUNT)):
        container.config["mounts"].append(
            {"destination": f"/data/{number}", "type": "tmpfs", "source": "tmpfs", "options": [option]}
        )
    mount = {"destination": "/again", "type": "tmpfs", "source": "tmpfs"}
    container.config["mounts"] += [mount, {**mount, "options": ["remount"]}]
    assert container.shell("echo ran").run() == "ran\n"


@pytest.mark.clause("features.linux-namespaces.recognized")
def test_every_namespace_that_is_listed_is_known(container: Container, features: dict[str, Any]) -> None:
    names = set(features["linux"]["namespaces"])
    assert {"pid", "network", "mount", "ipc", "uts", "user", "cgroup"} <= names
    container.linux["namespaces"] = [{"type": name} for name in names - {"user", "time"}]
    assert container.shell("echo ran").run() == "ran\n"


def can_be_given(name: str) -> bool:
    """Not every root has all of them, and what cannot be given may be an error."""
    return bool(bounding() >> NAMES.index(name) & 1)


@pytest.mark.clause("features.linux-capabilities.recognized")
def test_every_capability_that_is_listed_is_known(container: Container, features: dict[str, Any]) -> None:
    listed = [name for name in features["linux"]["capabilities"] if name not in NAMES or can_be_given(name)]
    container.process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), listed)
    assert container.shell("echo ran").run() == "ran\n"
    log = container.bundle / "log.json"
    assert not log.exists() or "unknown" not in log.read_text().lower()


@pytest.mark.clause("features.annotations.map", "features.annotations.structured")
def test_annotations_are_strings_by_name(features: dict[str, Any]) -> None:
    for name, value in (features.get("annotations") or {}).items():
        assert name and isinstance(value, str)


@pytest.mark.clause("features.linux-idmap.partial")
def test_a_runtime_that_uses_a_mounts_mappings_says_so(container: Container, features: dict[str, Any]) -> None:
    says = ((features["linux"].get("mountExtensions") or {}).get("idmap") or {}).get("enabled", False)
    (container.bundle / "source").mkdir()
    mapping = [{"containerID": 0, "hostID": 5, "size": 1}]
    mount = {"destination": "/data", "source": str(container.bundle / "source"), "options": ["bind", "idmap"]}
    container.config["mounts"].append({**mount, "uidMappings": mapping, "gidMappings": mapping})
    try:
        is_mapped = container.shell("stat -c %u /data").run() == "5\n"
    except Failure:
        is_mapped = False
    assert says or not is_mapped


@pytest.mark.clause("features.compiled-in")
def test_what_it_says_does_not_depend_on_the_host(runtime: Runtime, features: dict[str, Any]) -> None:
    """Seen from a namespace of its own, without its /sys, a host looks poorer."""
    command = f"umount -l /sys; exec {runtime.program} features"
    again = subprocess.run(["unshare", "--mount", "sh", "-c", command], capture_output=True, check=True)
    assert json.loads(again.stdout) == features


@pytest.mark.clause("features.linux-memory-policy.flags", "features.linux-memory-policy.modes")
def test_every_flag_of_a_memory_policy_that_is_listed_is_known(make: Make, features: dict[str, Any]) -> None:
    listed = features["linux"].get("memoryPolicy")
    if not listed:
        pytest.skip("this runtime claims no memory policies")
    assert "MPOL_BIND" in listed["modes"]
    for flag in listed["flags"]:
        container = make()
        container.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}
        assert container.shell("echo ran").run() == "ran\n"


@pytest.mark.clause(
    "features.linux-seccomp.actions", "features.linux-seccomp.operators", "features.linux-seccomp.architectures"
)
def test_every_word_of_filters_that_is_listed_is_known(container: Container, features: dict[str, Any]) -> None:
    words = features["linux"]["seccomp"]
    actions = [action for action in words["actions"] if action != "SCMP_ACT_NOTIFY"]  # has tests of its own
    rules: list[dict[str, Any]] = [
        {"names": ["mkdir"], "action": action, "args": [{"index": 1, "value": 1000 + number, "op": "SCMP_CMP_EQ"}]}
        for number, action in enumerate(actions)
        if action != "SCMP_ACT_ALLOW"
    ]
    rules += [
        {"names": ["rmdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 2 + n, "value": 1, "op": op}]}
        for n, op in enumerate(words["operators"][:4])
    ]
    rules += [
        {"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 2 + n, "value": 1, "op": op}]}
        for n, op in enumerate(words["operators"][4:])
    ]
    container.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    assert container.args("echo", "ran").run() == "ran\n"


@pytest.mark.clause("features.linux-namespaces.recognized", "features.hooks.supported")
def test_what_is_not_listed_is_refused(container: Container, features: dict[str, Any]) -> None:
    assert {"pid", "ipc", "uts", "mount", "network", "user", "cgroup"} <= set(features["linux"]["namespaces"])
    hooks = {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}
    assert set(features["hooks"]) == hooks
    container.linux["namespaces"].append({"type": "no-such"})
    with pytest.raises(Failure):
        container.create()
