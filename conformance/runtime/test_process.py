"""The program and what it is given: environment, folder, user, rights, limits."""

from __future__ import annotations

import pytest

from .harness import Container, Failure, namespace


def status_of(container: Container, *keys: str) -> dict[str, str]:
    """Lines of the program's own /proc/self/status."""
    lines = dict(line.split(":\t", 1) for line in container.args("cat", "/proc/self/status").run().splitlines())
    return {key: lines[key].strip() for key in keys}


@pytest.mark.clause("config.process.env", "config.process.cwd", "config.process.args")
def test_the_program_has_its_arguments_environment_and_folder(container: Container) -> None:
    container.process.update(args=["sh", "-c", 'echo "$0|$1|$KEY|$(pwd)"', "zero", "o ne"], cwd="/tmp")
    container.process["env"].append("KEY=va=lue")
    assert container.run() == "zero|o ne|va=lue|/tmp\n"


@pytest.mark.clause("cli.process.home")
def test_home_comes_from_the_containers_passwd(container: Container) -> None:
    container.process["user"] = {"uid": 1000, "gid": 1000}
    assert container.shell("echo $HOME").run() == "/home/user\n"


@pytest.mark.clause("config.process.user")
def test_the_program_runs_as_its_user(container: Container) -> None:
    container.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 7]}
    found = status_of(container, "Uid", "Gid", "Groups")
    assert found["Uid"].split() == ["1000"] * 4
    assert found["Gid"].split() == ["1001"] * 4
    assert set(found["Groups"].split()) - {"1001"} == {"5", "7"}


@pytest.mark.clause("config.process.umask")
def test_the_umask_is_set(container: Container) -> None:
    container.process["user"]["umask"] = 0o027
    assert container.shell("umask").run() == "0027\n"


@pytest.mark.clause("config.process.capabilities")
def test_each_capability_set_is_as_asked(container: Container) -> None:
    container.process["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    }
    container.process["user"] = {"uid": 1000, "gid": 1000}  # root would regain its bounding set by execve
    found = status_of(container, "CapBnd", "CapInh", "CapAmb", "CapEff", "CapPrm")
    assert int(found["CapBnd"], 16) == 0b10100001
    assert {name: int(found[name], 16) for name in ("CapInh", "CapAmb", "CapEff", "CapPrm")} == {
        "CapInh": 0b100000,
        "CapAmb": 0b100000,
        "CapEff": 0b100000,
        "CapPrm": 0b100000,
    }


@pytest.mark.clause("config.process.capabilities")
@pytest.mark.parametrize("told", [True, False], ids=["empty", "missing"])
def test_no_capabilities_means_none(container: Container, told: bool) -> None:
    container.process["capabilities"] = {}
    if not told:
        del container.process["capabilities"]
    found = status_of(container, "CapBnd", "CapEff", "CapPrm")
    of_the_c_library = 1 << 31 | 1 << 32  # 32 and 33 are glibc's own; how the caller was started decides them
    assert {int(value, 16) & ~of_the_c_library for value in found.values()} == {0}


@pytest.mark.clause("config.process.capabilities", "config.values.invalid-errors")
def test_what_is_not_permitted_cannot_be_in_effect(container: Container) -> None:
    container.process["capabilities"]["permitted"] = ["CAP_KILL"]
    with pytest.raises(Failure):
        container.create().start()


@pytest.mark.clause("config.process.no-new-privileges")
@pytest.mark.parametrize("wanted", [True, False])
def test_no_new_privs_is_as_asked(container: Container, wanted: bool) -> None:
    container.process["noNewPrivileges"] = wanted
    assert status_of(container, "NoNewPrivs") == {"NoNewPrivs": str(int(wanted))}


@pytest.mark.clause("config.process.rlimits")
def test_resource_limits_are_set(container: Container) -> None:
    container.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 300, "soft": 200}]
    assert container.shell("ulimit -Sn; ulimit -Hn").run() == "200\n300\n"


@pytest.mark.clause("config.process.oom-score")
def test_the_oom_score_is_set(container: Container) -> None:
    container.process["oomScoreAdj"] = 321
    assert container.args("cat", "/proc/self/oom_score_adj").run() == "321\n"


@pytest.mark.clause("cli.process.no-leaked-descriptors")
def test_no_descriptor_of_the_runtime_is_left_open(container: Container) -> None:
    assert container.shell("echo /proc/self/fd/*").run().split()[:3] == [f"/proc/self/fd/{n}" for n in (0, 1, 2)]
    assert "/proc/self/fd/5" not in container.output.read_text()


@pytest.mark.clause("cli.process.default-signals")
def test_no_signal_is_ignored_or_blocked(container: Container) -> None:
    found = status_of(container, "SigIgn", "SigBlk")
    of_the_c_library = 1 << 31 | 1 << 32  # 32 and 33 are glibc's own; how the caller was started decides them
    assert {int(value, 16) & ~of_the_c_library for value in found.values()} == {0}


@pytest.mark.clause("cli.process.cwd-missing")
def test_a_working_folder_that_is_missing_is_made(container: Container) -> None:
    container.process["cwd"] = "/made/up"
    assert container.args("pwd").run() == "/made/up\n"


@pytest.mark.clause("cli.exec.joins")
def test_exec_is_in_the_same_namespaces_and_cgroup(running: Container) -> None:
    script = "for n in pid ipc uts mnt net; do readlink /proc/self/ns/$n; done"
    theirs = [namespace(running.pid, name) for name in ("pid", "ipc", "uts", "mnt", "net")]
    assert running.exec("sh", "-c", script).split() == theirs


@pytest.mark.clause("cli.exec.status")
def test_exec_returns_the_programs_status(running: Container) -> None:
    with pytest.raises(Failure) as failure:
        running.exec("sh", "-c", "exit 9")
    assert failure.value.status == 9


@pytest.mark.clause("cli.exec.flags")
def test_exec_flags_change_the_process(running: Container) -> None:
    said = running.exec("--cwd=/tmp", "--env=K=v", "--user=1000:1001", "sh", "-c", "echo $(pwd) $K $(id -u) $(id -g)")
    assert said == "/tmp v 1000 1001\n"


@pytest.mark.clause("cli.exec.kept")
def test_what_a_process_from_a_file_does_not_say_is_as_in_the_container(container: Container) -> None:
    """Or whoever forgets to name the capabilities would have all of them."""
    kill = {key: ["CAP_KILL"] for key in ("bounding", "effective", "permitted")}
    container.process["capabilities"] = kill
    container.args("sleep", "1000").create().start()
    assert container.exec_of_file("grep", "Cap", "/proc/self/status").split() == [
        *("CapInh:", f"{0:016x}", "CapPrm:", f"{1 << 5:016x}", "CapEff:", f"{1 << 5:016x}"),
        *("CapBnd:", f"{1 << 5:016x}", "CapAmb:", f"{0:016x}"),
    ]


@pytest.mark.clause("cli.exec.kept")
def test_a_process_from_a_file_is_ended_no_later_than_the_container(container: Container) -> None:
    container.process["oomScoreAdj"] = 321
    container.args("sleep", "1000").create().start()
    assert container.exec_of_file("cat", "/proc/self/oom_score_adj") == "321\n"


@pytest.mark.clause("cli.exec.program-missing", "cli.words.no-executable")
def test_exec_of_a_program_that_is_not_there_fails(running: Container) -> None:
    with pytest.raises(Failure, match="not found") as failure:
        running.exec("nope")
    assert failure.value.status == (255 if running.runtime.name != "crun" else failure.value.status)


@pytest.mark.clause("cli.exec.stopped")
def test_exec_in_a_stopped_container_is_refused(container: Container) -> None:
    container.create().start().wait("stopped")
    with pytest.raises(Failure):
        container.exec("true")
