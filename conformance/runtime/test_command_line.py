"""The command line, side by side with runc: the same words to both, the same answers from both.

What may differ is taken out first: the program's name, numbers of processes, moments, folders, versions.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ..leaks import TOKEN, reap_zombies
from ..patience import patience
from .conftest import Make
from .harness import Container, Runtime

CLAUSE = pytest.mark.clause("cli.same")


class Answer(NamedTuple):
    """What a command said and returned, without what may differ."""

    status: int
    output: str
    error: str


@pytest.fixture
def reference(runtime: Runtime, tmp_path: Path) -> Runtime:
    """The real runc, with a folder of its own."""
    program = shutil.which("runc")
    if program is None:
        pytest.skip("runc is not installed: nothing to be like")
    if runtime.name == "crun":
        pytest.skip("crun has words and columns of its own")
    folder = tmp_path / "reference"
    folder.mkdir()
    return Runtime(program, folder)


def ask(runtime: Runtime, *words: str) -> Answer:
    log = runtime.folder / "asked.json"
    log.unlink(missing_ok=True)
    command = [runtime.program, "--root", str(runtime.root), "--log", str(log), "--log-format", "json", *words]
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=patience(60),
        check=False,
    )
    output = "" if result.stdout.startswith("Incorrect Usage") else result.stdout  # has the help of the command
    return Answer(result.returncode, plain(runtime, output), plain(runtime, runtime.last_error(log)))


def plain(runtime: Runtime, text: str) -> str:
    """*text* without what may differ between two runtimes that do the same."""
    text = re.sub(
        rf"((/[\w.+-]+)+/|\b)({runtime.name}|runc)\b(?!/)", "RUNTIME", text
    )  # "runc create failed" is what callers look for
    text = re.sub(r"(/[\w.+-]+)+/(bundle-\d+|root)\b", r"FOLDER/\2", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "MOMENT", text)
    text = re.sub(r'"ociVersion":( ?)"[^"]*"', r'"ociVersion":\1"1"', text)
    text = re.sub(r"bundle-\d+", "BUNDLE", text)
    text = re.sub(r"conf\d+-\d+", "ID", text)
    return re.sub(r" +\n", "\n", re.sub(r"   +", "   ", re.sub(r"[1-9]\d{1,9}", "NUMBER", text)))


@contextlib.contextmanager
def twins(make: Make, reference: Runtime, stage: str) -> Iterator[list[Container]]:
    """Two containers that are *stage*, of the runtime under test and of the reference."""
    ours, theirs = make(), make()
    theirs.runtime = reference
    for each in (ours, theirs):
        each.args("sleep", "1000").create()
        if stage != "created":
            each.start().wait("running")
        if stage == "paused":
            each.runtime("pause", each.id)
        if stage == "stopped":
            each.kill("KILL")
            each.wait("stopped")
    yield [ours, theirs]


STAGES = ("created", "running", "paused", "stopped")
LOOKING = (
    "state {id}",
    "list",
    "list --quiet",
    "list --format json",
    "list --format yaml",
    "list -q -f json",
    "ps --format json {id}",
    "ps --format yaml {id}",
    "kill {id} NOSUCH",
    "kill {id} 1000",
    "update --memory much {id}",
    "update --pids-limit many {id}",
    "exec {id}",
    "exec --user nobody {id} true",
    "exec --process /no/such/file {id}",
    "exec {id} /no-such-program",
    "exec {id} no-such-program",
    "exec --cwd /no/such/folder {id} pwd",
    "exec {id} sh -c 'exit 3'",
    "create --bundle {bundle} {id}",
    "run --bundle {bundle} {id}",
)


@CLAUSE
@pytest.mark.parametrize("stage", STAGES)
def test_what_changes_nothing_is_answered_alike(make: Make, reference: Runtime, stage: str) -> None:
    with twins(make, reference, stage) as both:
        different = []
        for line in LOOKING:
            if stage == "paused" and line.startswith(("create", "run")):
                continue  # runc 1.1 tries to remove the cgroup of the one that is there
            answers = [ask(each.runtime, *_words(line, each)) for each in both]
            if answers[0] != answers[1]:
                different.append(f"{line}\n  ours:   {answers[0]}\n  theirs: {answers[1]}")
        assert not different, "\n".join(different)


def _words(line: str, each: Container) -> list[str]:
    return shlex.split(line.format(id=each.id, bundle=each.bundle))


@CLAUSE
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "command",
    ["start", "kill", "kill --all", "pause", "resume", "delete", "delete --force", "exec", "kill -KILL"],
)
def test_what_changes_something_is_answered_alike(make: Make, reference: Runtime, stage: str, command: str) -> None:
    after = {"kill": ["TERM"], "kill -KILL": ["KILL"], "kill --all": ["KILL"], "exec": ["true"]}.get(command, [])
    words = command.replace(" -KILL", "").split()
    if (stage, command) == ("paused", "delete"):
        pytest.skip("runc 1.1 waits for ten seconds, and leaves it paused")
    with twins(make, reference, stage) as both:
        answers = [ask(each.runtime, *words, each.id, *after) for each in both]
        assert answers[0] == answers[1]
        expected = "stopped" if _ends(stage, command) else None
        if expected:
            for each in both:
                each.wait(expected)
        reap_zombies()
        states = [ask(each.runtime, "state", each.id) for each in both]
        assert states[0] == states[1]


def _ends(stage: str, command: str) -> bool:
    return (command in ("kill -KILL", "kill --all") and stage != "stopped") or (command, stage) == ("kill", "created")


@CLAUSE
@pytest.mark.parametrize(
    "line",
    [
        "create",
        "create one two",
        "create --nosuch one",
        "start",
        "start one two",
        "state",
        "state one two",
        "kill",
        "kill one TERM more",
        "delete",
        "delete one two",
        "pause",
        "resume one two",
        "ps",
        "exec",
        "update",
        "events",
        "list one",
        "features one",
        "spec one",
        "run",
        "nosuch",
        "--nosuch list",
        "create --bundle",
        "--log-format nosuch list",
        "state nobody",
        "state ../nobody",
        "start nobody",
        "kill nobody",
        "delete nobody",
        "delete --force nobody",
        "pause nobody",
        "resume nobody",
        "ps nobody",
        "exec nobody true",
        "update nobody",
        "events nobody",
        "checkpoint nobody",
        "checkpoint",
        "restore",
        "list",
        "list --quiet",
        "list --format json",
        "create --bundle /no/such/folder one",
        "run --bundle /no/such/folder one",
    ],
)
def test_a_mistake_is_answered_alike(runtime: Runtime, reference: Runtime, line: str) -> None:
    ours, theirs = (ask(each, *line.split()) for each in (runtime, reference))
    assert (ours.status, ours.error) == (theirs.status, theirs.error)
    if theirs.status == 0:
        assert ours.output == theirs.output


COMMANDS = [
    *("checkpoint", "create", "delete", "events", "exec", "features", "kill", "list", "pause", "ps", "restore"),
    *("resume", "run", "spec", "start", "state", "update"),
]


@pytest.mark.clause("cli.help")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_its_flags(runtime: Runtime, reference: Runtime, command: str) -> None:
    ours, theirs = (ask(each, command, "--help") for each in (runtime, reference))
    assert ours.status == theirs.status == 0
    assert _flags(theirs.output) <= _flags(ours.output)
    assert ours.output.startswith(f"NAME:\n   RUNTIME {command} - ")


@pytest.mark.clause("cli.help")
@pytest.mark.parametrize("words", ["--help", "-h", "help", "h", ""])
def test_the_program_tells_its_commands(runtime: Runtime, reference: Runtime, words: str) -> None:
    ours, theirs = (ask(each, *words.split()) for each in (runtime, reference))
    assert ours.status == theirs.status == 0
    commands = [re.findall(r"^   ([a-z]+) +\S", each.output.partition("COMMANDS:")[2], re.M) for each in (ours, theirs)]
    assert set(commands[1]) <= set(commands[0])
    assert _flags(theirs.output) <= _flags(ours.output)


@pytest.mark.clause("cli.help")
def test_help_of_a_command_can_be_asked_for_in_both_ways(runtime: Runtime) -> None:
    assert runtime("help", "kill") == runtime("kill", "--help") == runtime("kill", "-h")


def _flags(text: str) -> set[str]:
    return set(re.findall(r"^   (--[a-z-]+)", text, re.M))


@pytest.mark.clause("cli.events.stats")
def test_stats_have_the_shape_of_runcs(make: Make, reference: Runtime) -> None:
    with twins(make, reference, "running") as both:
        ours, theirs = (json.loads(each.runtime("events", "--stats", each.id)) for each in both)
    assert set(ours) == set(theirs) == {"type", "id", "data"}
    assert ours["type"] == theirs["type"] == "stats"
    assert set(ours["data"]) == set(theirs["data"])
    assert set(ours["data"]["cpu"]["usage"]) <= set(theirs["data"]["cpu"]["usage"])
    assert ours["data"]["pids"] == theirs["data"]["pids"] == {"current": 1}


@pytest.mark.clause("cli.events.stats")
def test_stats_come_again_and_again(running: Container) -> None:
    command = [running.runtime.program, "--root", str(running.runtime.root), "events", "--interval", "100ms"]
    with subprocess.Popen([*command, running.id], stdout=subprocess.PIPE, text=True) as told:
        assert told.stdout is not None
        lines = [json.loads(told.stdout.readline()) for _ in range(2)]
        running.kill("KILL")
        running.wait("stopped").delete()
        assert told.wait(patience(20)) == 0  # it ends with the container
    assert [line["type"] for line in lines] == ["stats", "stats"]
    assert lines[0]["id"] == running.id


@pytest.mark.clause("cli.checkpoint.criu")
def test_a_checkpoint_without_criu_says_that_it_needs_it(running: Container) -> None:
    if shutil.which("criu"):
        pytest.skip("criu is installed")
    answer = ask(running.runtime, "checkpoint", running.id)
    assert answer.status == 1
    assert "criu" in answer.error.lower()
    assert running.status == "running"


@pytest.mark.clause("cli.exec.sub-cgroup")
def test_exec_enters_a_group_below_the_containers(running: Container) -> None:
    groups = [*Path("/sys/fs/cgroup").glob(f"*/{TOKEN}/{running.id}"), Path("/sys/fs/cgroup", TOKEN, running.id)]
    below = [group / "below" for group in groups if group.is_dir() and not group.parents[1].is_symlink()]
    for group in below:  # a host with version 1 has one tree a controller
        group.mkdir()
        for name in ("cpuset.cpus", "cpuset.mems"):  # version 1 takes nobody in before they are set
            if (group / name).exists() and (text := (group.parent / name).read_text().strip()):
                (group / name).write_text(text)
    try:
        assert f"/{running.id}/below\n" in running.exec("--cgroup=below", "cat", "/proc/self/cgroup")
    finally:
        for group in below:
            group.rmdir()
    assert ask(running.runtime, "exec", "--cgroup", "nosuch", running.id, "true").status == 255
