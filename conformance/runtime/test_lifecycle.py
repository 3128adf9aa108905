"""create, start, state, kill, delete: the operations, and what each refuses."""

from __future__ import annotations

import json
import os
import re
import time

import pytest

from ..patience import wait_until
from .conftest import Make
from .harness import Container, Failure, Runtime, expect_gone


@pytest.mark.clause("runtime.create.program-not-run", "runtime.start.runs-program")
def test_the_program_runs_at_start_and_not_before(container: Container) -> None:
    container.shell("echo ran").create()
    time.sleep(0.2)
    assert container.output.read_text() == ""
    container.start().wait("stopped")
    assert container.written() == "ran\n"


@pytest.mark.clause("runtime.state.fields", "runtime.state.status")
def test_state_tells_id_status_pid_and_bundle(container: Container) -> None:
    container.args("sleep", "1000").create()
    state = container.state()
    assert state["id"] == container.id
    assert state["status"] == "created"
    assert state["pid"] == container.pid
    assert state["bundle"] == str(container.bundle)
    assert re.fullmatch(r"1\.\d+\.\d+\S*", state["ociVersion"])
    container.start()
    assert container.status == "running"
    container.kill("KILL")
    assert container.wait("stopped").state()["pid"] == 0


@pytest.mark.clause("runtime.state.annotations")
def test_state_repeats_the_annotations(container: Container) -> None:
    container.config["annotations"] = {"org.example.key": "value"}
    assert container.create().state()["annotations"] == {"org.example.key": "value"}


@pytest.mark.clause("runtime.create.unique-id", "cli.words.exists")
def test_an_id_that_is_taken_is_refused(make: Make) -> None:
    first, second = make().args("sleep", "1000").create(), make()
    second.id = first.id
    with pytest.raises(Failure, match="exist") as failure:
        second.create()
    assert failure.value.status != 0
    assert first.status == "created"


COMMANDS = [["state"], ["start"], ["kill", "TERM"], ["delete"], ["pause"], ["resume"]]


@pytest.mark.clause("runtime.state.missing-errors", "runtime.kill.missing-errors")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_command_for_a_container_that_is_not_there_fails(runtime: Runtime, command: list[str]) -> None:
    with pytest.raises(Failure, match="nobody"):
        runtime(command[0], "nobody", *command[1:])


@pytest.mark.clause("cli.words.missing")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_its_words_are_those_by_which_a_shim_knows_it(runtime: Runtime, command: list[str]) -> None:
    with pytest.raises(Failure, match="does not exist"):
        runtime(command[0], "nobody", *command[1:])


@pytest.mark.clause("cli.delete.force-missing")
def test_a_forced_delete_of_nothing_is_fine(runtime: Runtime) -> None:
    runtime("delete", "--force", "nobody")


@pytest.mark.clause("runtime.start.not-created-errors", "runtime.start.not-created-no-effect")
def test_start_of_a_running_container_is_refused(running: Container) -> None:
    with pytest.raises(Failure):
        running.start()
    assert running.status == "running"


@pytest.mark.clause("runtime.start.not-created-errors")
def test_start_of_a_stopped_container_is_refused(container: Container) -> None:
    container.create().start().wait("stopped")
    with pytest.raises(Failure):
        container.start()


@pytest.mark.clause("runtime.kill.sends-signal")
@pytest.mark.parametrize("signal", ["TERM", "SIGTERM", "15"])
def test_kill_sends_the_signal_however_it_is_written(container: Container, signal: str) -> None:
    container.shell("trap 'echo got; exit' TERM; echo ready; while :; do sleep 0.05; done").create().start()
    container.written()
    container.kill(signal)
    container.wait("stopped")
    assert container.output.read_text() == "ready\ngot\n"


@pytest.mark.clause("runtime.kill.not-running-errors", "cli.words.not-running")
def test_kill_of_a_stopped_container_is_refused(container: Container) -> None:
    container.create().start().wait("stopped")
    with pytest.raises(Failure, match="(?i)not running|already finished|no such process"):
        container.kill("TERM")


@pytest.mark.clause("cli.kill.unknown-signal")
def test_an_unknown_signal_is_refused(running: Container) -> None:
    with pytest.raises(Failure, match="(?i)signal"):
        running.kill("NOSUCH")
    assert running.status == "running"


@pytest.mark.clause("cli.kill.created")
def test_a_created_container_can_be_killed(container: Container) -> None:
    container.args("sleep", "1000").create().kill("KILL")
    container.wait("stopped")


@pytest.mark.clause("cli.kill.all")
def test_kill_all_reaches_every_process(container: Container) -> None:
    container.shell("sleep 1000 & sleep 1000 & wait").create().start()
    container.exec("sh", "-c", "while test $(ps | grep -c 'sleep 1000') -lt 3; do sleep 0.05; done")
    container.kill("KILL", "--all")
    container.wait("stopped")


@pytest.mark.clause("runtime.delete.running-errors", "runtime.delete.running-no-effect", "cli.words.not-stopped")
def test_delete_of_a_running_container_is_refused(running: Container) -> None:
    with pytest.raises(Failure, match="stopped|running"):
        running.delete()
    assert running.status == "running"


@pytest.mark.clause("cli.delete.force")
def test_a_forced_delete_ends_a_running_container(running: Container) -> None:
    running.delete("--force")
    expect_gone(running)


@pytest.mark.clause("runtime.delete.removes", "runtime.delete.id-free")
def test_after_delete_the_id_is_free(make: Make) -> None:
    first, second = make(), make()
    first.create().start().wait("stopped").delete()
    second.id = first.id
    assert second.shell("echo again").run() == "again\n"


@pytest.mark.clause("cli.create.pid-file")
def test_the_pid_file_holds_the_pid_alone(container: Container) -> None:
    container.args("sleep", "1000").create()
    assert container.pid_file.read_text() == str(container.state()["pid"])
    os.kill(container.pid, 0)


@pytest.mark.clause("cli.create.program-missing", "cli.words.no-executable")
def test_a_program_that_is_not_there_fails_create(container: Container) -> None:
    container.args("nope")
    with pytest.raises(Failure, match=r'exec(utable file|: "nope": executable file|: `?nope`?.*) not found|not found'):
        container.create()
    expect_gone(container)


@pytest.mark.clause("cli.list.json")
def test_list_shows_every_container(make: Make, runtime: Runtime) -> None:
    first, second = make().args("sleep", "1000").create(), make().create().start().wait("stopped")
    listed = {row["id"]: row["status"] for row in json.loads(runtime("list", "--format", "json"))}
    assert listed == {first.id: "created", second.id: "stopped"}
    assert set(runtime("list", "--quiet").split()) == {first.id, second.id}


@pytest.mark.clause("cli.pause.freezes", "cli.resume.thaws")
def test_a_paused_container_stands_still(container: Container) -> None:
    container.shell("while :; do echo tick; sleep 0.05; done").create().start().written()
    container.runtime("pause", container.id)
    assert container.status == "paused"
    before = container.output.read_text()
    time.sleep(0.3)
    assert container.output.read_text() == before
    container.runtime("resume", container.id)
    assert container.status == "running"
    wait_until(lambda: container.output.read_text() != before, "it goes on")


@pytest.mark.clause("cli.ps.json")
def test_ps_tells_the_pids_as_the_host_sees_them(running: Container) -> None:
    assert json.loads(running.runtime("ps", "--format", "json", running.id)) == [running.pid]


@pytest.mark.clause("cli.run.status")
def test_run_in_the_foreground_returns_the_programs_status(container: Container) -> None:
    (container.bundle / "config.json").write_text(json.dumps(container.shell("echo out; exit 7").config))
    with pytest.raises(Failure) as failure:
        container.runtime("run", "--bundle", str(container.bundle), container.id)
    assert failure.value.status == 7
    expect_gone(container)
