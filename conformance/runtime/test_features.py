"""What the runtime says of itself, held against what it does."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .harness import Container, Failure, Runtime


@pytest.fixture
def features(runtime: Runtime) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(runtime("features"))
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.match(r"\d+\.\d+\.\d+", version)[0].split("."))  # type: ignore[index]


@pytest.mark.clause("features.versions.given", "features.versions.ordered")
def test_a_lowest_and_a_highest_version_are_given(features: dict[str, Any]) -> None:
    assert (1, 0, 0) <= _numbers(features["ociVersionMin"]) <= _numbers(features["ociVersionMax"])


@pytest.mark.clause("features.versions.min-accepted", "features.versions.max-accepted")
@pytest.mark.parametrize("which", ["ociVersionMin", "ociVersionMax"])
def test_both_are_accepted(container: Container, features: dict[str, Any], which: str) -> None:
    container.config["ociVersion"] = features[which]
    assert container.args("echo", "ran").run() == "ran\n"


@pytest.mark.clause("features.versions.known-properties")
def test_no_property_is_newer_than_the_highest_version(features: dict[str, Any]) -> None:
    since = {"memoryPolicy": (1, 3, 0), "netDevices": (1, 3, 0), "mountExtensions": (1, 2, 0), "intelRdt": (1, 1, 0)}
    highest = _numbers(features["ociVersionMax"])
    assert [name for name, version in since.items() if name in features["linux"] and version > highest] == []


@pytest.mark.clause("features.linux-capabilities.recognized")
def test_every_capability_that_is_listed_is_known(container: Container, features: dict[str, Any]) -> None:
    container.process["capabilities"] = {"bounding": features["linux"]["capabilities"]}
    container.create()
    lines = (container.bundle / "log.json").read_text().splitlines()
    unknown = [entry["msg"] for entry in map(json.loads, lines) if "unknown" in entry["msg"]]
    held_back = set(_not_held())
    assert all(set(re.findall(r"CAP_\w+", message)) <= held_back for message in unknown)


def _not_held() -> list[str]:
    """What the host keeps from its own root, and so nobody can be given."""
    with open("/proc/self/status", encoding="ascii") as file:
        bounding = next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd"))
    names = {24: "CAP_SYS_RESOURCE", 38: "CAP_PERFMON", 39: "CAP_BPF", 40: "CAP_CHECKPOINT_RESTORE"}
    return [name for bit, name in names.items() if not bounding >> bit & 1]


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
