"""A container engine that knows only runc's command line: podman runs its containers on the runtime under test.

It calls ``create`` by way of conmon, which takes the terminal, the pid file and the exit code, and everything else by
itself. What it shows of a container is what the runtime told it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .. import leaks
from ..patience import patience, wait_until
from .harness import Runtime, make_rootfs

pytestmark = [
    pytest.mark.clause("cli.engines"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed here"),
]

# No limit on processes: a host with version 1 of cgroups beside version 2 has no controller for ours to set it with.
CONFIG = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
netns = "none"
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["crun", "runc", "{name}"]
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


Podman = Callable[..., Done]


@pytest.fixture
def podman(runtime: Runtime) -> Iterator[Podman]:
    """podman with all of its own in one folder (of a short name: it makes sockets there), and an image of busybox."""
    with tempfile.TemporaryDirectory(prefix="podman-") as name:
        folder = Path(name)
        (folder / "containers.conf").write_text(CONFIG.format(name=runtime.name))
        flags = ["--root", f"{name}/root", "--runroot", f"{name}/run", "--tmpdir", f"{name}/tmp"]
        flags += ["--storage-driver", "vfs", "--runtime", runtime.program]

        def podman(*words: str) -> Done:
            done = subprocess.run(
                ["podman", *flags, *words],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CONTAINERS_CONF": f"{name}/containers.conf"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=patience(60),
            )
            return Done(done.returncode, done.stdout, done.stderr)

        make_rootfs(folder / "rootfs")
        tar = folder / "rootfs.tar"
        subprocess.run(["tar", "-C", folder / "rootfs", "-cf", tar, "."], check=True)
        assert podman("import", "--quiet", str(tar), "busybox:1").code == 0
        yield podman
        podman("rm", "--all", "--force", "--time", "0")
        podman("rmi", "--all", "--force")
    for group in sorted(Path("/sys/fs/cgroup").glob(f"**/{leaks.TOKEN}/*/"), reverse=True):
        remove_when_empty(group)  # where conmon is for a moment still; podman leaves the group


def remove_when_empty(group: Path) -> None:
    wait_until(lambda: not (group / "cgroup.procs").read_text(), f"{group} is empty")
    group.rmdir()


RUN = ("run", "--cgroup-parent", f"/{leaks.TOKEN}")


def test_a_program_runs_and_its_end_is_known(podman: Podman) -> None:
    done = podman(*RUN, "--rm", "busybox:1", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert done == (7, "out\n", "err\n")


def test_a_life(podman: Podman) -> None:
    assert podman(*RUN, "--detach", "--name", "lives", "busybox:1", "sleep", "1000").code == 0
    assert podman("exec", "lives", "sh", "-c", "echo added; exit 3") == (3, "added\n", "")
    assert podman("pause", "lives").code == 0
    assert "Paused" in podman("ps", "--all", "--format", "{{.Status}}").out
    assert podman("unpause", "lives").code == 0
    assert "sleep 1000" in podman("top", "lives").out
    assert podman("kill", "lives").code == 0
    assert podman("wait", "lives").out == "137\n"
    assert podman("inspect", "lives", "--format", "{{.State.Status}} {{.State.ExitCode}}").out == "exited 137\n"
    assert podman("start", "lives").code == 0
    assert podman("rm", "--force", "--time", "0", "lives").code == 0


def test_a_terminal(podman: Podman) -> None:
    done = podman(*RUN, "--rm", "--tty", "busybox:1", "sh", "-c", "tty; test -t 0 && echo terminal")
    assert done.out.replace("\r", "") == "/dev/pts/0\nterminal\n"


def test_what_it_may_not_do(podman: Podman) -> None:
    flags = ["--read-only", "--user", "1000:1000", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
    done = podman(*RUN, "--rm", *flags, "busybox:1", "sh", "-c", "id -u; touch /file; grep CapEff /proc/self/status")
    assert done.out.split() == ["1000", "CapEff:", "0000000000000000"]
    assert "Read-only file system" in done.err


def test_a_program_that_is_not_there_has_code_127(podman: Podman) -> None:
    done = podman(*RUN, "--rm", "busybox:1", "nosuch")
    assert done.code == 127
    assert re.search("executable file.* not found in \\$PATH", done.err), done.err


@pytest.mark.needs("root", "systemd", "cgroup-v2")
def test_systemd_makes_its_cgroup(podman: Podman) -> None:
    done = podman("--cgroup-manager", "systemd", "run", "--detach", "--memory", "64m", "busybox:1", "sleep", "1000")
    assert done.code == 0, done.err
    scope = f"libpod-{done.out.strip()}.scope"
    show = ["systemctl", "show", "--value", "--property=ActiveState", "--property=MemoryMax", scope]
    found = subprocess.run(show, capture_output=True, text=True, check=True).stdout.split()
    assert sorted(found) == [str(64 << 20), "active"]
    assert podman("exec", "--latest", "echo", "here").out == "here\n"
