"""Filters on system calls: what each action does, how arguments are compared, and who is told of a call."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..patience import patience
from .harness import Container, Failure, expect_gone
from .test_failures import elf

SIGNALS = {17: "CHLD", 18: "CONT", 23: "URG", 28: "WINCH"}
"""Signals that do nothing to who does not wait for them: so the second argument of kill(2) can be looked at."""


def ruled(container: Container, *rules: dict[str, Any], **more: Any) -> Container:
    container.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules), **more}
    return container


MKDIR = ["mkdir", "mkdirat"]
DIED = "159\n"  # 128 + SIGSYS, as a shell says it


@pytest.mark.clause("linux.seccomp.actions", "features.linux-seccomp.actions")
@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("SCMP_ACT_ALLOW", "0\n"),
        ("SCMP_ACT_LOG", "0\n"),
        ("SCMP_ACT_ERRNO", "Operation not permitted\n1\n"),
        ("SCMP_ACT_TRACE", "Function not implemented\n1\n"),  # nobody traces
        ("SCMP_ACT_KILL", DIED),
        ("SCMP_ACT_KILL_THREAD", DIED),
        ("SCMP_ACT_KILL_PROCESS", DIED),
        ("SCMP_ACT_TRAP", DIED),
    ],
)
def test_each_action_does_what_it_is_called(container: Container, action: str, said: str) -> None:
    ruled(container, {"names": MKDIR, "action": action})
    told = container.shell("mkdir /tmp/folder 2>&1; echo $?").run()
    assert told.endswith(said)
    assert (container.rootfs / "tmp/folder").is_dir() == (said == "0\n")


@pytest.mark.clause("linux.seccomp.actions")
@pytest.mark.parametrize(("action", "said"), [("SCMP_ACT_TRAP", "caught\n"), ("SCMP_ACT_KILL_PROCESS", "")])
def test_a_trap_can_be_caught_and_a_kill_cannot(container: Container, action: str, said: str) -> None:
    ruled(container, {"names": ["kill"], "action": action})
    assert container.shell("trap 'echo caught; exit' SYS; kill -0 $$ 2>/dev/null; echo went on").run() == said


@pytest.mark.clause("linux.seccomp.default", "linux.seccomp.errno-default")
def test_what_no_rule_names_gets_the_default_action(container: Container) -> None:
    everything_but = sorted(_known_calls() - {*MKDIR})
    allowed = {"names": everything_but, "action": "SCMP_ACT_ALLOW"}
    container.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [allowed]}
    assert "not permitted" in container.shell("mkdir /tmp/folder 2>&1").run()


@pytest.mark.clause("linux.seccomp.default-errno")
def test_the_default_action_has_an_errno_of_its_own(container: Container) -> None:
    allowed = {"names": sorted(_known_calls() - {*MKDIR}), "action": "SCMP_ACT_ALLOW"}
    container.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 28, "syscalls": [allowed]}
    assert "No space left" in container.shell("mkdir /tmp/folder 2>&1").run()


def _known_calls() -> set[str]:
    """Every call that the engines' own profile names."""
    profile = json.loads(Path("/usr/share/containers/seccomp.json").read_text())
    return {name for rule in profile["syscalls"] for name in rule["names"]}


@pytest.mark.clause("linux.seccomp.operators", "linux.seccomp.arguments", "features.linux-seccomp.operators")
@pytest.mark.parametrize(
    ("operator", "value", "second", "refused"),
    [
        ("SCMP_CMP_NE", 23, 0, {17, 18, 28}),
        ("SCMP_CMP_LT", 18, 0, {17}),
        ("SCMP_CMP_LE", 18, 0, {17, 18}),
        ("SCMP_CMP_EQ", 23, 0, {23}),
        ("SCMP_CMP_GE", 23, 0, {23, 28}),
        ("SCMP_CMP_GT", 23, 0, {28}),
        ("SCMP_CMP_MASKED_EQ", 0b00101, 0b00001, {17}),
        ("SCMP_CMP_MASKED_EQ", 0b00001, 0b00001, {17, 23}),
    ],
)
def test_each_operator_compares(
    container: Container, operator: str, value: int, second: int, refused: set[int]
) -> None:
    argument = {"index": 1, "value": value, "valueTwo": second, "op": operator}
    ruled(container, {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [argument]})
    attempts = "; ".join(f"kill -{name} $$ 2>/dev/null || echo {number}" for number, name in SIGNALS.items())
    assert {int(number) for number in container.shell(f"{attempts}; true").run().split()} == refused


@pytest.mark.clause("linux.seccomp.arguments")
def test_comparisons_of_several_arguments_must_all_hold(container: Container) -> None:
    both = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 23, "op": "SCMP_CMP_EQ"}]
    ruled(container, {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": both})
    script = "kill -URG 1 2>/dev/null || echo both; kill -CONT 1 && sh -c 'kill -URG $$' && echo others"
    assert container.shell(f"{script}; true").run() == "both\nothers\n"


@pytest.mark.clause("linux.seccomp.arguments")
def test_comparisons_of_one_argument_are_alternatives(container: Container) -> None:
    either = [{"index": 1, "value": 23, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 28, "op": "SCMP_CMP_EQ"}]
    ruled(container, {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": either})
    attempts = "; ".join(f"kill -{name} $$ 2>/dev/null || echo {number}" for number, name in SIGNALS.items())
    assert container.shell(f"{attempts}; true").run() == "23\n28\n"


@pytest.mark.clause("linux.seccomp.default")
def test_a_call_that_is_not_known_here_is_passed_over(container: Container) -> None:
    ruled(container, {"names": ["no_such_call", *MKDIR], "action": "SCMP_ACT_ERRNO"})
    assert "not permitted" in container.shell("mkdir /tmp/folder 2>&1; true").run()


@pytest.mark.clause("linux.seccomp.architectures", "features.linux-seccomp.architectures")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the program is made of instructions of x86_64")
@pytest.mark.parametrize("listed", [True, False])
def test_calls_of_an_architecture_that_is_not_listed_are_not_possible(container: Container, listed: bool) -> None:
    # getpid by the entry for 32 bits, then exit(7) by that for 64: whoever gets that far may do both.
    code = b"\xb8\x14\0\0\0\xcd\x80" + b"\xbf\x07\0\0\0\xb8\x3c\0\0\0\x0f\x05"
    program = container.rootfs / "program"
    program.write_bytes(_loaded(code))
    program.chmod(0o755)
    architectures = ["SCMP_ARCH_X86_64", *(["SCMP_ARCH_X86"] if listed else [])]
    ruled(container, {"names": MKDIR, "action": "SCMP_ACT_ERRNO"}, architectures=architectures)
    assert container.shell("/program; echo $?").run().endswith("7\n" if listed else DIED)


FUTURE = 999
"""The number of a call that no kernel has yet."""
LONG, INTERRUPT = b"\x0f\x05", b"\xcd\x80"
"""The ways into the kernel: that of 64 bits, and that of 32."""


@pytest.mark.clause("cli.seccomp.unknown-calls")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the program is made of instructions of x86_64")
@pytest.mark.parametrize(
    ("number", "entry", "default", "status"),
    [
        pytest.param(FUTURE, LONG, {}, 38, id="new"),
        pytest.param(FUTURE, INTERRUPT, {}, 38, id="new-x86"),
        pytest.param(FUTURE | 1 << 30, LONG, {}, 38, id="new-x32"),
        pytest.param(FUTURE, LONG, {"defaultErrnoRet": 28}, 38, id="new-errno"),
        pytest.param(FUTURE, LONG, {"defaultAction": "SCMP_ACT_KILL_PROCESS"}, 38, id="new-kill"),
        pytest.param(FUTURE, LONG, {"defaultAction": "SCMP_ACT_TRAP"}, 38, id="new-trap"),
        pytest.param(83, LONG, {}, 1, id="mkdir"),
        pytest.param(39, INTERRUPT, {}, 1, id="mkdir-x86"),
        pytest.param(83, LONG, {"defaultErrnoRet": 28}, 28, id="mkdir-errno"),
    ],
)
def test_a_call_newer_than_the_filter_is_not_there(
    container: Container, number: int, entry: bytes, default: dict[str, Any], status: int
) -> None:
    """A C library that meets ENOSYS takes the older call; with EPERM it gives up."""
    code = b"\xb8" + struct.pack("<I", number) + entry  # mov eax, number; and in
    code += b"\xf7\xd8\x89\xc7\xb8\x3c\0\0\0" + LONG  # exit(-eax)
    program = container.rootfs / "program"
    program.write_bytes(_loaded(code))
    program.chmod(0o755)
    allowed = {"names": sorted(_known_calls() - {*MKDIR}), "action": "SCMP_ACT_ALLOW"}
    architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    asked = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [allowed], "architectures": architectures, **default}
    container.linux["seccomp"] = asked
    assert container.shell("/program; echo $?").run() == f"{status}\n"


def _loaded(code: bytes) -> bytes:
    """A program for x86_64 that is *code* and nothing else."""
    header = bytearray(elf(62, "x"))[:120]
    struct.pack_into("<Q", header, 24, 0x400000 + 120)
    struct.pack_into("<IIQQQQQQ", header, 64, 1, 5, 0, 0x400000, 0x400000, 120 + len(code), 120 + len(code), 4096)
    return bytes(header) + code


@pytest.mark.clause(
    "linux.seccomp.flags", "features.linux-seccomp.known-flags", "features.linux-seccomp.supported-flags"
)
@pytest.mark.parametrize("flag", ["LOG", "SPEC_ALLOW", "TSYNC"])
def test_a_flag_reaches_the_kernel(container: Container, flag: str, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace shows the flags, and is not installed")
    ruled(container, {"names": MKDIR, "action": "SCMP_ACT_ERRNO"}, flags=[f"SECCOMP_FILTER_FLAG_{flag}"])
    container.write_config()
    seen, log = tmp_path / "seen", tmp_path / "seen-log"
    command = ["strace", "-qq", "-f", "-e", "trace=seccomp", "-o", str(seen), container.runtime.program]
    command += ["--root", str(container.runtime.root), "--log", str(log), "run", "--bundle", str(container.bundle)]
    subprocess.run([*command, container.id], stdin=subprocess.DEVNULL, timeout=patience(60), check=True)
    loads = [line for line in seen.read_text().splitlines() if "SET_MODE_FILTER" in line and "len=" in line]
    assert any(f"SECCOMP_FILTER_FLAG_{flag}" in line for line in loads), seen.read_text()


@pytest.mark.clause("config.values.invalid-errors", "runtime.create.cannot-apply-nothing")
@pytest.mark.parametrize(
    "change",
    [
        {"defaultAction": "SCMP_ACT_NOSUCH"},
        {"architectures": ["SCMP_ARCH_NOSUCH"]},
        {"flags": ["SECCOMP_FILTER_FLAG_NOSUCH"]},
        {"syscalls": [{"names": MKDIR, "action": "SCMP_ACT_NOSUCH"}]},
        {
            "syscalls": [
                {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 1, "op": "NOSUCH"}]}
            ]
        },
    ],
    ids=["default", "architecture", "flag", "action", "operator"],
)
def test_a_word_that_is_not_known_is_refused(container: Container, change: dict[str, Any]) -> None:
    ruled(container, **change) if "syscalls" not in change else ruled(container, *change["syscalls"])
    with pytest.raises(Failure):
        container.create()
    expect_gone(container)


@pytest.mark.clause("linux.seccomp.errno-errors")
def test_an_errno_for_an_action_without_one_is_refused(container: Container) -> None:
    ruled(container, {"names": MKDIR, "action": "SCMP_ACT_KILL_PROCESS", "errnoRet": 28})
    with pytest.raises(Failure):
        container.create()


@pytest.mark.clause("linux.seccomp.default-errno-errors")
def test_a_default_errno_for_an_action_without_one_is_refused(container: Container) -> None:
    ruled(container, {"names": MKDIR, "action": "SCMP_ACT_ERRNO"}, defaultErrnoRet=28)
    with pytest.raises(Failure):
        container.create()


class Agent:
    """Whoever answers the calls of a container in its place: listens, and is sent the filter's descriptor."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.settimeout(patience(20))
        self.filters: list[int] = []

    def accept(self) -> dict[str, Any]:
        """The process state that comes over the next connection; its descriptor is kept."""
        connection, _ = self.listener.accept()
        connection.settimeout(patience(20))
        with connection:
            text, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 4)
            while more := connection.recv(1 << 16):  # until it is closed
                text += more
        self.filters += descriptors
        state: dict[str, Any] = json.loads(text)
        assert len(descriptors) == len(state["fds"])
        return state

    def answer(self, error: int) -> int:
        """Let the next call fail with *error*; the pid of who made it."""
        notification = bytearray(80)  # struct seccomp_notif
        fcntl.ioctl(self.filters[-1], 0xC0502100, notification)
        id, pid = struct.unpack_from("<QI", notification)
        fcntl.ioctl(self.filters[-1], 0xC0182101, struct.pack("<QqiI", id, 0, -error, 0))
        return int(pid)

    def close(self) -> None:
        self.listener.close()
        for descriptor in self.filters:
            os.close(descriptor)


@pytest.fixture
def agent(container: Container) -> Iterator[Agent]:
    if container.runtime.name == "crun":
        pytest.skip("with crun 1.8 nothing arrives at the agent in minutes; why, is not known yet")
    agent = Agent(container.bundle / "agent")
    rule = {"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}
    ruled(container, rule, listenerPath=str(container.bundle / "agent"), listenerMetadata="what=ever")
    with contextlib.closing(agent):
        yield agent


@pytest.mark.clause(
    "linux.seccomp.listener-descriptor",
    "linux.seccomp.listener-one-state",
    "linux.seccomp.listener-closed",
    "linux.seccomp.listener-metadata",
    "linux.seccomp.state.payload",
    "linux.seccomp.state.rights",
    "linux.seccomp.state.rights-first",
    "linux.seccomp.state.version",
    "linux.seccomp.state.pid",
    "linux.seccomp.state.state",
)
@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_an_agent_is_told_of_the_container_and_answers_its_calls(
    container: Container, agent: Agent, no_new_privileges: bool
) -> None:
    container.process["noNewPrivileges"] = no_new_privileges
    container.config["annotations"] = {"org.example.key": "value"}
    container.shell("mkdir /tmp/folder 2>&1; sleep 1000").create()
    told = agent.accept()
    assert told["fds"] == ["seccompFd"]
    assert told["pid"] == container.pid
    assert told["metadata"] == "what=ever"
    assert told["ociVersion"]
    state = told["state"]
    assert {key: state[key] for key in ("id", "status", "pid", "bundle", "annotations")} == {
        "id": container.id,
        "status": "creating",
        "pid": container.pid,
        "bundle": str(container.bundle),
        "annotations": {"org.example.key": "value"},
    }
    container.start()
    agent.answer(18)
    assert "ross-device link" in container.written("ross-device link")


@pytest.mark.clause("linux.seccomp.listener-not-reused", "linux.seccomp.listener-one-state")
def test_an_agent_is_told_of_a_process_that_joins(container: Container, agent: Agent) -> None:
    container.args("sleep", "1000").create().start()
    agent.accept()
    container.runtime("exec", "--detach", container.id, "sh", "-c", "mkdir /tmp/folder 2>/tmp/said; sleep 1000")
    told = agent.accept()
    assert told["fds"] == ["seccompFd"]
    assert told["pid"] != container.pid
    assert told["state"]["status"] == "running"
    assert told["state"]["id"] == container.id
    agent.answer(18)


@pytest.mark.clause("linux.seccomp.listener-errors")
def test_an_agent_that_is_not_there_is_an_error(container: Container) -> None:
    rule = {"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}
    ruled(container, rule, listenerPath=str(container.bundle / "nobody"))
    with pytest.raises(Failure):
        container.create()
    expect_gone(container)


@pytest.mark.clause("linux.seccomp.listener-unused")
def test_an_agent_that_is_not_needed_is_not_told(container: Container) -> None:
    rule = {"names": MKDIR, "action": "SCMP_ACT_ERRNO"}
    ruled(container, rule, listenerPath=str(container.bundle / "nobody"))
    assert "not permitted" in container.shell("mkdir /tmp/folder 2>&1; true").run()


@pytest.mark.clause("config.values.invalid-errors", "cli.seccomp.notify-limits")
@pytest.mark.parametrize("kind", ["default", "write", "no-path"])
def test_a_notification_that_would_stop_the_runtime_itself_is_refused(container: Container, kind: str) -> None:
    if container.runtime.name == "crun":
        pytest.skip("crun 1.8 hangs in it: it waits for an answer of its own")
    names = ["write"] if kind == "write" else MKDIR
    ruled(container, {"names": names, "action": "SCMP_ACT_NOTIFY"})
    if kind != "no-path":
        container.linux["seccomp"]["listenerPath"] = str(container.bundle / "agent")
    if kind == "default":
        container.linux["seccomp"]["defaultAction"] = "SCMP_ACT_NOTIFY"
    with contextlib.closing(Agent(container.bundle / "agent")), pytest.raises(Failure):
        container.create()
