"""A container tells its story: the shim's part and the children's, to the file that its config names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

from conformance.runtime.harness import base_config, make_rootfs
from minicontainerd.api.any import PROCESS, pack_json
from minicontainerd.api.runtime.task.v3 import shim_pb2 as api
from minicontainerd.linux.tell import is_told, render
from minicontainerd.run.explain import ANNOTATION, explained
from tests.run.shim.daemon import NAMESPACE, Daemon

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="containers need root")
MINIRUNC = str(Path(sys.executable).parent / "minirunc")


def entries(story: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in story.read_text().splitlines()]


def calls(story: Path) -> list[tuple[str, str]]:
    return [(entry["by"], entry["call"]) for entry in entries(story) if "call" in entry]


def is_subsequence(wanted: list[tuple[str, str]], found: list[tuple[str, str]]) -> bool:
    rest = iter(found)
    return all(each in rest for each in wanted)


@needs_root
def test_the_shim_and_every_child_tell_their_part(daemon: Daemon, tmp_path: Path) -> None:
    story = tmp_path / "story.jsonl"
    story.touch()
    daemon.config["annotations"] = {ANNOTATION: str(story)}
    daemon.config["process"]["args"] = ["sleep", "1000"]
    daemon.start()
    daemon.create()
    daemon.begin()
    process = {"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    request = api.ExecProcessRequest(id=daemon.id, exec_id="e", spec=pack_json(PROCESS, process))
    daemon.ask("Exec", request, Empty)
    daemon.begin("e")
    assert daemon.wait("e") == 0
    daemon.kill(9)
    daemon.wait()
    daemon.delete("e")
    daemon.delete()
    daemon.shut_down()
    first = [("shim", "fork_into"), ("init", "mount"), ("init", "pivot_root"), ("init", "capset"), ("init", "execute")]
    assert is_subsequence(first, calls(story))
    assert is_subsequence([("process", "setns"), ("process", "set_uid"), ("process", "execute")], calls(story))
    assert is_subsequence([("shim", "create"), ("shim", "fork_into"), ("shim", "remove")], calls(story))
    told = [entry["step"] for entry in entries(story) if "step" in entry]
    assert "signal 9 to the container's first process" in told


@needs_root
def test_minirunc_tells_readers_and_programs(tmp_path: Path) -> None:
    make_rootfs(tmp_path / "rootfs")
    config = base_config(f"{NAMESPACE}-told")
    config["linux"]["cgroupsPath"] = f"/{NAMESPACE}-told"
    config["process"]["args"] = ["true"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in ("story", "story.jsonl"):
        command = [MINIRUNC, "--root", str(tmp_path / "root"), "--explain", str(tmp_path / name), "run", "told"]
        subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, timeout=20, check=True)
    lines = (tmp_path / "story").read_text().splitlines()
    assert any(line.startswith("init    the rootfs becomes /") for line in lines)
    assert any("fork_into(" in line and "create=NEWNS|" in line for line in lines)
    found = entries(tmp_path / "story.jsonl")
    assert all(render(each).startswith(each["by"]) for each in found)
    assert {each["by"] for each in found} == {"runtime", "init"}
    specs = {each["spec"].partition("#")[0] for each in found if each.get("spec")}
    assert {"runtime-spec config.md", "runtime-spec config-linux.md", "runtime-spec runtime.md"} <= specs


@pytest.mark.parametrize("what", ["missing.jsonl", "link.jsonl", "notes.txt", "folder.jsonl", "fifo.jsonl"])
def test_nothing_but_a_story_file_that_is_there_is_written(tmp_path: Path, what: str) -> None:
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "notes.txt")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "fifo.jsonl")
    with explained({"annotations": {ANNOTATION: str(tmp_path / what)}}, by="test"):
        assert not is_told()
    assert not (tmp_path / "missing.jsonl").exists()


def test_a_story_told_already_is_not_told_twice(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "b.jsonl").touch()
    with explained({"annotations": {ANNOTATION: str(tmp_path / "a.jsonl")}}, by="outer"):
        with explained({"annotations": {ANNOTATION: str(tmp_path / "b.jsonl")}}, by="inner"):
            assert is_told()
    assert not is_told()
