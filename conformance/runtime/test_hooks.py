"""Hooks: when each kind is called, with what, and what becomes of the container when one fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .harness import Container, Failure, expect_gone, namespace

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
OF_CREATE = KINDS[:3]
NOTE = '#!/bin/sh\nread -r state\necho "$1 $(readlink /proc/self/ns/mnt) $state" >> "$LOG"\nexit "${2:-0}"\n'
"""The program of most hooks: notes its first word, where it is, and the state; returns its second word."""


class Notes:
    """What hooks note: on a bind mount, so that they find the file outside and inside."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.log = container.bundle / "log"
        self.log.touch()
        (container.rootfs / "log").touch()
        self.hook = container.rootfs / "hook"
        self.hook.write_text(NOTE)
        self.hook.chmod(0o755)
        bound = {"destination": "/log", "type": "bind", "source": str(self.log), "options": ["bind", "rw"]}
        container.config["mounts"].append(bound)

    def add(self, kind: str, *words: str) -> None:
        """One more hook of *kind*, which notes *words*."""
        inside = kind == "startContainer"
        hook = {
            "path": "/hook" if inside else str(self.hook),
            "args": ["hook", *words],
            "env": ["PATH=/bin:/usr/bin", f"LOG={'/log' if inside else self.log}"],
        }
        self.container.config.setdefault("hooks", {}).setdefault(kind, []).append(hook)

    def words(self) -> list[str]:
        return [line.split()[0] for line in self.log.read_text().splitlines()]

    def states(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """By its first word: the mount namespace where the hook was, and the state that it was told."""
        lines = [line.split(" ", 2) for line in self.log.read_text().splitlines()]
        return {word: (place, json.loads(state)) for word, place, state in lines}


@pytest.fixture
def notes(container: Container) -> Notes:
    return Notes(container.args("sleep", "1000"))


@pytest.mark.clause(
    "config.hooks.order",
    "config.hooks.prestart-when",
    "config.hooks.prestart-first",
    "config.hooks.create-container-after",
    "config.hooks.start-container-when",
    "config.hooks.poststop-when",
    "runtime.lifecycle.prestart",
    "runtime.lifecycle.start-container",
    "runtime.lifecycle.poststop",
)
def test_all_kinds_are_called_in_their_order_and_each_in_the_order_of_its_list(notes: Notes) -> None:
    for kind in reversed(KINDS):
        if kind != "poststart":  # has a test of its own: when it runs, differs
            notes.add(kind, f"{kind}-1")
            notes.add(kind, f"{kind}-2")
    container = notes.container.shell("echo program >> /log").create()
    made = [f"{kind}-{number}" for kind in OF_CREATE for number in (1, 2)]
    assert notes.words() == made
    container.start().wait("stopped")
    started = [*made, "startContainer-1", "startContainer-2", "program"]
    assert notes.words() == started
    container.delete()
    assert notes.words() == [*started, "poststop-1", "poststop-2"]


@pytest.mark.clause("config.hooks.state", "runtime.state.pid-of-runtime", "runtime.state.annotations")
def test_each_kind_is_told_the_state_as_it_is_at_its_moment(notes: Notes) -> None:
    container = notes.container
    container.config["annotations"] = {"org.example.key": "value"}
    for kind in KINDS:
        notes.add(kind, kind)
    container.create().start().wait("running")
    pid = container.pid
    container.kill("KILL")
    container.wait("stopped").delete()
    states = {kind: state for kind, (_, state) in notes.states().items()}
    assert set(states) == set(KINDS)
    assert {state["id"] for state in states.values()} == {container.id}
    assert all(state["annotations"] == {"org.example.key": "value"} for state in states.values())
    assert {kind: state["pid"] for kind, state in states.items() if kind in OF_CREATE[:2]} == {
        "prestart": pid,
        "createRuntime": pid,
    }
    assert states["poststart"]["pid"] == pid


@pytest.mark.clause("config.hooks.state", "runtime.state.status")
@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("startContainer", "created"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ],
)
def test_the_status_that_a_hook_is_told(notes: Notes, kind: str, status: str) -> None:
    notes.add(kind, kind)
    container = notes.container.create().start()
    container.kill("KILL")
    container.wait("stopped").delete()
    assert notes.states()[kind][1]["status"] == status


@pytest.mark.clause(
    "config.hooks.prestart-in",
    "config.hooks.create-runtime-in",
    "config.hooks.create-container-in",
    "config.hooks.start-container-in",
    "config.hooks.poststart-in",
    "config.hooks.poststop-in",
    "config.hooks.start-container-path",
    "config.hooks.create-container-path",
)
def test_each_kind_runs_in_its_namespaces(notes: Notes) -> None:
    for kind in KINDS:
        notes.add(kind, kind)
    container = notes.container.create()
    inner = namespace(container.pid, "mnt")
    container.start().wait("running")
    container.kill("KILL")
    container.wait("stopped").delete()
    places = {kind: place for kind, (place, _) in notes.states().items()}
    assert places.pop("createContainer") == inner
    assert places.pop("startContainer") == inner
    assert places == dict.fromkeys(("prestart", "createRuntime", "poststart", "poststop"), namespace("self", "mnt"))


@pytest.mark.clause("config.hooks.args")
def test_a_hook_has_its_arguments_and_its_environment_and_nothing_else(container: Container) -> None:
    seen = container.bundle / "seen"
    script = f"tr '\\0' '\\n' < /proc/$$/environ > {seen}; echo \"$0|$*\" >> {seen}"
    hook = {"path": "/bin/sh", "args": ["named", "-c", script, "zero", "o ne"], "env": ["ONE=1", "TWO=two words"]}
    container.config["hooks"] = {"createRuntime": [hook]}
    container.create()
    assert sorted(seen.read_text().splitlines()) == sorted(["ONE=1", "TWO=two words", "zero|o ne"])


@pytest.mark.clause("config.hooks.timeout")
def test_a_hook_that_takes_too_long_is_ended_and_fails(container: Container) -> None:
    hook = {"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}
    container.config["hooks"] = {"createRuntime": [hook]}
    with pytest.raises(Failure):
        container.create()
    expect_gone(container)


@pytest.mark.clause("config.hooks.timeout", "config.values.invalid-errors")
@pytest.mark.parametrize("timeout", [0, -1])
def test_a_timeout_that_is_no_time_is_an_error(container: Container, timeout: int) -> None:
    hook = {"path": "/bin/sleep", "args": ["sleep", "1"], "timeout": timeout}
    container.config["hooks"] = {"createRuntime": [hook]}
    with pytest.raises(Failure):
        container.create()
    expect_gone(container)


@pytest.mark.clause("config.hooks.timeout")
def test_a_hook_may_have_longer_than_anybody_waits(container: Container) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "cat > /dev/null"], "timeout": 1 << 31}
    container.config["hooks"] = {"createRuntime": [hook]}
    assert container.args("echo", "here").run() == "here\n"


@pytest.mark.clause(
    "runtime.lifecycle.prestart-fails",
    "runtime.lifecycle.create-container-fails",
    "config.hooks.failure",
    "runtime.errors.no-trace",
    "cli.hooks.words",
)
@pytest.mark.parametrize("kind", OF_CREATE)
def test_a_hook_of_create_that_fails_is_an_error_and_the_container_is_destroyed(notes: Notes, kind: str) -> None:
    notes.add(kind, "first", "7")
    notes.add(kind, "second")
    with pytest.raises(Failure, match=r"hook #0|exit"):
        notes.container.create()
    assert notes.words() == ["first"]
    expect_gone(notes.container)


@pytest.mark.clause("runtime.lifecycle.poststop", "runtime.lifecycle.destroyed")
@pytest.mark.parametrize("kind", OF_CREATE)
def test_after_a_hook_of_create_has_failed_poststop_hooks_are_called(notes: Notes, kind: str) -> None:
    notes.add(kind, "first", "7")
    notes.add("poststop", "last")
    with pytest.raises(Failure):
        notes.container.create()
    assert notes.words() == ["first", "last"]


@pytest.mark.clause("runtime.lifecycle.start-container-fails")
def test_a_hook_of_start_that_fails_stops_the_container(notes: Notes) -> None:
    notes.add("startContainer", "first", "7")
    notes.add("startContainer", "second")
    notes.add("poststop", "last")
    container = notes.container.shell("echo program >> /log").create()
    try:
        container.start()
    except Failure:
        pass  # whether start itself says so, is another test's question
    container.wait("stopped").delete()
    assert notes.words() == ["first", "last"]


@pytest.mark.clause("runtime.lifecycle.start-container-fails")
def test_a_hook_of_start_that_fails_is_an_error_of_start(notes: Notes) -> None:
    notes.add("startContainer", "first", "7")
    container = notes.container.create()
    with pytest.raises(Failure, match="startContainer"):
        container.start()


@pytest.mark.clause("runtime.lifecycle.poststart-fails", "runtime.lifecycle.poststart")
def test_a_poststart_hook_that_fails_is_an_error_and_stops_the_container(notes: Notes) -> None:
    notes.add("poststart", "first", "7")
    notes.add("poststart", "second")
    container = notes.container.create()
    with pytest.raises(Failure, match="poststart"):
        container.start()
    assert notes.words() == ["first"]
    container.wait("stopped")


@pytest.mark.clause("runtime.lifecycle.poststop-fails", "runtime.lifecycle.poststop-goes-on", "runtime.warnings.go-on")
def test_a_poststop_hook_that_fails_is_a_warning(notes: Notes) -> None:
    notes.add("poststop", "first", "7")
    notes.add("poststop", "second")
    container = notes.container.create().start()
    container.delete("--force")
    assert notes.words() == ["first", "second"]
    log = Path(container.runtime.folder, "log.json").read_text()
    assert any(json.loads(line)["level"] == "warning" for line in log.splitlines())
    expect_gone(container)


@pytest.mark.clause("config.hooks.create-runtime-path", "config.hooks.path-absolute")
def test_a_hook_that_is_not_there_is_an_error(container: Container) -> None:
    container.config["hooks"] = {"createRuntime": [{"path": "/no/such/hook"}]}
    with pytest.raises(Failure):
        container.create()
    expect_gone(container)
