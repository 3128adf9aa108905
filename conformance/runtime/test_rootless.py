"""Containers of an ordinary user: one user namespace, one's own folder, and no cgroup unless one was given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..leaks import TOKEN
from ..patience import patience
from .harness import make_rootfs

pytestmark = pytest.mark.needs("root", "program:setpriv")

USER = 1000


class Ordinary:
    """The runtime, run by user 1000, with a bundle of that user's."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.folder = program, folder
        self.bundle, self.id = folder / "bundle", f"{TOKEN}-ordinary"
        self.cgroup: Path | None = None  # where to be run; else here

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        enter = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.cgroup)] if self.cgroup else []
        become = [*enter, "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--"]
        environment = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(self.folder), "HOME": str(self.folder)}
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:  # a pipe would stay open
            done = subprocess.run(
                [*become, self.program, *arguments],
                cwd=self.bundle,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=patience(60),
                check=False,
            )
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((self.bundle / "config.json").read_text())
        return config

    def write(self, config: dict[str, Any], *words: str) -> None:
        config["process"].update(terminal=False, args=list(words))
        config["root"]["readonly"] = False
        (self.bundle / "config.json").write_text(json.dumps(config))


@pytest.fixture
def ordinary(program: str) -> Iterator[Ordinary]:
    folder = Path(tempfile.mkdtemp(prefix="minicontainerd-rootless-"))
    made = Ordinary(program, folder)
    make_rootfs(made.bundle / "rootfs")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)
    assert made("spec", "--rootless").returncode == 0
    yield made
    made("delete", "--force", made.id)
    shutil.rmtree(folder)


@pytest.mark.clause("cli.spec.rootless", "linux.namespaces.user")
def test_the_config_for_an_ordinary_user_maps_only_that_user(ordinary: Ordinary) -> None:
    linux = ordinary.config()["linux"]
    assert linux["uidMappings"] == linux["gidMappings"] == [{"containerID": 0, "hostID": USER, "size": 1}]
    kinds = {each["type"] for each in linux["namespaces"]}
    assert "user" in kinds and "network" not in kinds
    assert not linux.get("resources")


@pytest.mark.clause("cli.rootless.run")
def test_an_ordinary_user_is_root_inside(ordinary: Ordinary) -> None:
    script = "id -u; cat /proc/self/uid_map /proc/self/setgroups; echo made > /made; echo > /dev/null && echo null"
    ordinary.write(ordinary.config(), "sh", "-c", script)
    done = ordinary("run", ordinary.id)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0", str(USER), "1", "deny", "null"]
    assert (ordinary.bundle / "rootfs/made").stat().st_uid == USER


@pytest.mark.clause("cli.rootless.run", "cli.rootless.state")
def test_its_containers_are_found_and_ended(ordinary: Ordinary) -> None:
    ordinary.write(ordinary.config(), "sleep", "1000")
    started = ordinary("run", "--detach", ordinary.id)
    assert started.returncode == 0, started.stderr
    assert json.loads(ordinary("state", ordinary.id).stdout)["status"] == "running"
    assert ordinary("exec", ordinary.id, "id", "-u").stdout == "0\n"
    assert any(ordinary.folder.rglob(ordinary.id))  # below XDG_RUNTIME_DIR
    assert ordinary("delete", "--force", ordinary.id).returncode == 0
    assert ordinary("state", ordinary.id).returncode != 0


@pytest.mark.clause("cli.rootless.limits")
def test_a_limit_that_cannot_be_set_is_refused(ordinary: Ordinary) -> None:
    config = ordinary.config()
    config["linux"]["resources"] = {"pids": {"limit": 10}}
    ordinary.write(config, "true")
    done = ordinary("run", ordinary.id)
    assert done.returncode != 0
    assert "cgroup" in done.stderr


@pytest.mark.clause("cli.rootless.needs-user-namespace")
def test_without_a_user_namespace_it_is_refused(ordinary: Ordinary) -> None:
    config = ordinary.config()
    config["linux"]["namespaces"] = [each for each in config["linux"]["namespaces"] if each["type"] != "user"]
    for key in ("uidMappings", "gidMappings"):
        config["linux"].pop(key, None)
    ordinary.write(config, "true")
    assert ordinary("run", ordinary.id).returncode != 0


@pytest.fixture
def lent() -> Iterator[None]:
    """Ranges that the administrator lends to user 1000, whom newuidmap wants to know by name as well."""
    before = {path: path.read_text() if path.exists() else "" for path in map(Path, LENT)}
    for path, line in zip(before, LENT.values(), strict=True):
        with path.open("a") as file:
            file.write(line)
    yield
    for path, text in before.items():
        path.write_text(text)


LENT = {
    "/etc/passwd": f"conformance:x:{USER}:{USER}::/nonexistent:/bin/false\n",
    "/etc/subuid": "conformance:200000:1000\n",
    "/etc/subgid": "conformance:200000:1000\n",
}


@pytest.mark.needs("guest", "program:newuidmap")
@pytest.mark.clause("cli.rootless.ranges", "linux.namespaces.user")
def test_ranges_that_were_lent_are_mapped_by_the_helpers(ordinary: Ordinary, lent: None) -> None:
    config = ordinary.config()
    ranges = [{"containerID": 0, "hostID": USER, "size": 1}, {"containerID": 1, "hostID": 200000, "size": 1000}]
    config["linux"].update(uidMappings=ranges, gidMappings=ranges)
    config["process"]["user"] = {"uid": 5, "gid": 6}
    ordinary.write(config, "sh", "-c", "id -u; id -g; cat /proc/self/uid_map")
    done = ordinary("run", ordinary.id)
    assert done.stdout.split() == ["5", "6", "0", str(USER), "1", "1", "200000", "1000"], done.stderr


@pytest.fixture
def delegated(ordinary: Ordinary) -> Iterator[str]:
    """A cgroup given to the user, who is in one below it; the path from the tree's root."""
    group = Path("/sys/fs/cgroup", TOKEN)
    (group / "user").mkdir(parents=True)
    (group / "cgroup.subtree_control").write_text("+pids +memory")
    for path in (group, group / "user"):
        for each in (path, *(path / name for name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads"))):
            os.chown(each, USER, USER)
    ordinary.cgroup = group / "user"
    yield f"/{TOKEN}"
    ordinary("delete", "--force", ordinary.id)
    (group / "user").rmdir()


@pytest.mark.needs("cgroup-v2")
@pytest.mark.clause("cli.rootless.limits", "cli.rootless.run")
def test_in_a_cgroup_that_was_given_to_the_user_limits_are_set(ordinary: Ordinary, delegated: str) -> None:
    config = ordinary.config()
    config["linux"].update(cgroupsPath=f"{delegated}/container", resources={"pids": {"limit": 10}})
    ordinary.write(config, "sleep", "1000")
    started = ordinary("run", "--detach", ordinary.id)
    assert started.returncode == 0, started.stderr
    group = Path(f"/sys/fs/cgroup{delegated}/container")
    assert (group / "pids.max").read_text() == "10\n"
    assert (group / "cgroup.procs").read_text().split() == [
        str(json.loads(ordinary("state", ordinary.id).stdout)["pid"])
    ]
    assert ordinary("delete", "--force", ordinary.id).returncode == 0
    assert not group.exists()
