"""What an operation does when it cannot do what it was asked: an error, and everything is as it was before."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .. import leaks
from .conftest import Make
from .harness import Container, Failure, Runtime, expect_gone


def kept(runtime: Runtime) -> list[str]:
    """The names of what the runtime knows of."""
    return os.listdir(runtime.root) if runtime.root.exists() else []


@pytest.mark.clause("runtime.{command}.no-id-errors")
@pytest.mark.parametrize("command", ["state", "create", "start", "kill", "delete"])
def test_an_operation_must_be_told_which_container(runtime: Runtime, tmp_path: Path, command: str) -> None:
    with pytest.raises(Failure):
        runtime(command)
    assert not kept(runtime)


@pytest.mark.clause("runtime.create.no-id-errors")
def test_create_must_be_told_of_a_bundle(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(Failure):
        runtime("create", "--bundle", str(tmp_path / "nowhere"), "nobody")
    expect_unknown(runtime, "nobody")


def expect_unknown(runtime: Runtime, id: str) -> None:
    with pytest.raises(Failure):
        runtime("state", id)


@pytest.mark.clause("runtime.create.invalid-id", "runtime.create.no-second")
@pytest.mark.parametrize("id", ["a/b", "../up", "/up"])
def test_an_id_that_is_no_name_is_refused(container: Container, id: str) -> None:
    container.id = id
    with pytest.raises(Failure):
        container.create()
    assert not list(container.bundle.parent.rglob("state.json"))


@pytest.mark.clause("runtime.create.no-second", "runtime.create.unique-id")
def test_a_refused_id_leaves_the_one_that_has_it(make: Make) -> None:
    first, second = make().args("sleep", "1000").create(), make()
    second.id = first.id
    with pytest.raises(Failure):
        second.create()
    assert not second.pid_file.exists()
    assert first.state()["pid"] == first.pid
    assert first.state()["bundle"] == str(first.bundle)


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no-rootfs": lambda config: config["root"].update(path="nowhere"),
    "no-source": lambda config: config["mounts"].append(
        {"destination": "/data", "type": "bind", "source": "/no/such/source", "options": ["bind"]}
    ),
    "no-filesystem": lambda config: config["mounts"].append(
        {"destination": "/data", "type": "nosuchfs", "source": "x"}
    ),
    "no-namespace": lambda config: config["linux"]["namespaces"].append({"type": "time-and-space"}),
    "no-sysctl": lambda config: config["linux"].update(sysctl={"net.ipv4.no_such_thing": "1"}),
}


@pytest.mark.clause(
    "runtime.lifecycle.environment-errors",
    "runtime.create.cannot-apply-errors",
    "runtime.create.cannot-apply-nothing",
    "runtime.errors.no-trace",
)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_config_that_cannot_be_applied_makes_no_container(container: Container, wrong: str) -> None:
    WRONG[wrong](container.config)
    expect_refused(container)


def expect_refused(container: Container) -> None:
    """create fails, and nothing tells that it was tried."""
    with pytest.raises(Failure):
        container.create()
    expect_gone(container)
    assert container.id not in kept(container.runtime)
    left = leaks.cgroups_named(container.id)
    for group in left:
        group.rmdir()  # told here, and not a second time by the look at what is left behind
    assert not left


@pytest.mark.clause("config.values.invalid-errors")
@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("ociVersion", "two"),
        ("ociVersion", "99.0.0"),
        ("process.cwd", "relative"),
        ("process.cwd", ""),
        ("process.args", []),
        ("root.path", ""),
        ("linux.rootfsPropagation", "sideways"),
    ],
)
def test_a_value_that_is_no_value_is_refused(container: Container, where: str, value: object) -> None:
    table, _, key = where.rpartition(".")
    (container.config[table] if table else container.config)[key] = value
    with pytest.raises(Failure):
        container.create().start()


@pytest.mark.clause("runtime.start.no-process-errors")
def test_start_without_a_process_is_refused(container: Container) -> None:
    del container.config["process"]
    with pytest.raises(Failure):
        container.create().start()


@pytest.mark.clause("runtime.kill.not-running-no-effect")
def test_a_refused_kill_changes_nothing(container: Container) -> None:
    container.create().start().wait("stopped")
    before = container.state()
    with pytest.raises(Failure):
        container.kill("TERM")
    assert container.state() == before


@pytest.mark.clause("runtime.lifecycle.config-fixed", "runtime.create.args-later", "runtime.create.program-not-run")
def test_a_config_that_changes_after_create_changes_nothing(container: Container) -> None:
    container.shell("echo as created").create()
    assert container.output.read_text() == ""
    (container.bundle / "config.json").write_text(json.dumps({**container.config, "process": {"args": ["false"]}}))
    container.start().wait("stopped")
    assert container.written() == "as created\n"


@pytest.mark.clause("runtime.delete.others-kept")
def test_delete_leaves_what_create_did_not_make(make: Make, tmp_path: Path) -> None:
    owner, guest = make().args("sleep", "1000").create(), make()
    (tmp_path / "bound").mkdir()
    (tmp_path / "bound/file").write_text("kept")
    guest.config["mounts"].append({"destination": "/data", "source": str(tmp_path / "bound"), "options": ["rbind"]})
    for each in guest.linux["namespaces"]:
        if each["type"] in ("network", "ipc"):
            each["path"] = f"/proc/{owner.pid}/ns/{'net' if each['type'] == 'network' else 'ipc'}"
    guest.shell("cat /data/file; echo x > /left").run()
    assert guest.output.read_text() == "kept"
    assert (tmp_path / "bound/file").read_text() == "kept"
    assert (guest.rootfs / "left").exists() and (guest.bundle / "config.json").exists()
    assert owner.status == "created"


@pytest.mark.clause("runtime.lifecycle.destroyed", "runtime.delete.removes", "runtime.lifecycle.exit")
@pytest.mark.parametrize("end", ["true", "exit 3", "kill -SEGV $$", "sleep 1000"])
def test_however_it_ended_nothing_is_left_after_delete(container: Container, end: str) -> None:
    container.shell(end).create().start()
    if end.startswith("sleep"):
        container.kill("KILL")
    container.wait("stopped").delete()
    assert container.id not in kept(container.runtime)
    assert not leaks.cgroups_named(container.id)


@pytest.mark.clause(
    "runtime.scope.own-containers", "runtime.operations.all", "runtime.create.creates", "runtime.state.returns"
)
def test_who_made_a_container_can_do_everything_with_it(container: Container) -> None:
    container.args("sleep", "1000").create()
    assert container.state()["status"] == "created"
    container.start()
    assert container.state()["status"] == "running"
    container.kill("KILL")
    assert container.wait("stopped").state()["status"] == "stopped"
    container.delete()
    expect_gone(container)


TYPES = {"ociVersion": str, "id": str, "status": str, "pid": int, "bundle": str, "annotations": dict}


@pytest.mark.clause("runtime.state.schema", "runtime.state.bundle", "runtime.state.more")
def test_the_state_has_the_types_of_its_schema(container: Container) -> None:
    container.config["annotations"] = {"org.example.key": ""}
    state = container.args("sleep", "1000").create().state()
    assert {key: type(state[key]) for key in TYPES} == TYPES
    assert all(type(key) is type(value) is str for key, value in state["annotations"].items())
    assert Path(state["bundle"]).is_absolute() and state["pid"] > 0


@pytest.mark.clause("runtime.state.bundle")
def test_the_bundle_is_told_by_its_absolute_path(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    (container.bundle / "config.json").write_text(json.dumps(container.args("sleep", "1000").config))
    monkeypatch.chdir(container.bundle.parent)
    flags = ["--bundle", container.bundle.name, "--pid-file", str(container.pid_file)]
    container.runtime("create", *flags, container.id)
    assert container.state()["bundle"] == str(container.bundle)


@pytest.mark.clause("runtime.state.own-status", "runtime.state.more-status")
def test_a_status_of_its_own_is_for_something_new(running: Container) -> None:
    running.runtime("pause", running.id)
    assert running.status not in ("creating", "created", "running", "stopped")
    running.runtime("resume", running.id)


@pytest.mark.clause("runtime.lifecycle.environment", "runtime.lifecycle.resources", "runtime.create.applies-config")
def test_the_environment_is_there_before_the_program_runs(container: Container) -> None:
    container.config["hostname"] = "early"
    container.config["mounts"].append({"destination": "/data", "type": "tmpfs", "source": "tmpfs"})
    container.linux["sysctl"] = {"net.ipv4.ip_default_ttl": "78"}
    container.args("sleep", "1000").create()
    assert container.state()["status"] == "created"
    mounts = Path(f"/proc/{container.pid}/mountinfo").read_text()
    assert any(line.split()[4] == "/data" for line in mounts.splitlines())
    inside = Path(f"/proc/{container.pid}/root")
    assert (inside / "dev/null").exists() and not (inside / "data/anything").exists()
    assert container.id in Path(f"/proc/{container.pid}/cgroup").read_text()
