"""What CRIU is told and what is refused, without one: whether it works is seen in a guest, by the conformance suite."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from minicontainerd.errors import FailedPrecondition, InvalidArgument, NotFound, Unimplemented, Unknown
from minicontainerd.run import create, criu, flags, state
from minicontainerd.run.dispatch import COMMANDS

SPEC: dict[str, Any] = {"ociVersion": "1.0.2", "process": {"args": ["true"], "cwd": "/"}, "root": {"path": "rootfs"}}


def given(*words: str, command: str = "checkpoint") -> flags.Flags:
    return flags.parse(words, COMMANDS[command].flags, {})[0]


def container(folder: Path, **config: Any) -> state.Container:
    rootfs = folder / "rootfs"
    rootfs.mkdir()
    return state.Container("", "one", str(folder), str(rootfs), "", {**SPEC, **config}, "", pid=os.getpid())  # type: ignore[typeddict-item]


def test_a_bind_mount_is_named_alike_on_both_sides(tmp_path: Path) -> None:
    mount = {"destination": "/run/data", "type": "bind", "source": "here", "options": ["rbind"]}
    found = container(tmp_path, mounts=[{"destination": "/proc", "type": "proc"}, mount])
    Path(found.rootfs, "real/data").mkdir(parents=True)
    Path(found.rootfs, "run").symlink_to("/real")
    assert criu.external(found) == ["--external", "mnt[/real/data]:/real/data"]
    assert criu.bound_again(found) == ["--external", f"mnt[/real/data]:{tmp_path}/here"]


def test_a_masked_file_is_named_and_a_masked_folder_is_not(tmp_path: Path) -> None:
    found = container(tmp_path, linux={"maskedPaths": ["/proc/version", "/proc/sys", "/proc/not-there"]})
    assert criu.external(found) == ["--external", "mnt[/proc/version]:/dev/null"]
    assert criu.bound_again(found) == ["--external", "mnt[/dev/null]:/dev/null"]


def test_a_network_that_was_joined_is_named_by_its_inode(tmp_path: Path) -> None:
    path = f"/proc/{os.getpid()}/ns/net"
    found = container(tmp_path, linux={"namespaces": [{"type": "network", "path": path}]})
    assert criu.external(found) == ["--external", f"net[{os.stat(path).st_ino}]:extRootNetNS"]


@pytest.mark.parametrize(
    ("words", "config", "message"),
    [
        (["--pre-dump"], {}, "--pre-dump"),
        (["--lazy-pages"], {}, "--lazy-pages"),
        (["--page-server", "here:1"], {}, "--page-server"),
        ([], {"process": {"terminal": True}}, "terminal"),
        ([], {"linux": {"namespaces": [{"type": "user"}]}}, "user namespace"),
        ([], {"linux": {"namespaces": [{"type": "ipc", "path": "/proc/1/ns/ipc"}]}}, "ipc namespace"),
        ([], {"hooks": {"prestart": [{"path": "/bin/true"}]}}, "hooks"),
    ],
)
def test_what_is_not_done_is_refused_by_name(words: list[str], config: Any, message: str) -> None:
    config = {**SPEC, **config}
    with pytest.raises(Unimplemented, match=message):
        criu.check(config, given(*words))


@pytest.mark.parametrize("words", [["--manage-cgroups-mode", "hard"], ["--empty-ns", "mount"]])
def test_a_value_that_is_none_is_refused(words: list[str]) -> None:
    with pytest.raises(InvalidArgument):
        criu.check(SPEC, given(*words))  # type: ignore[arg-type]


def test_without_the_program_the_hint_says_what_to_do() -> None:
    with pytest.raises(FailedPrecondition, match="no-such-criu.*--criu"):
        criu.find("no-such-criu")


def test_where_no_checkpoint_is_nothing_is_restored(tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(SPEC))
    words = ["--bundle", str(tmp_path), "--image-path", str(tmp_path / "nowhere")]
    with pytest.raises(NotFound, match="no checkpoint in .*nowhere"):
        criu.restore(str(tmp_path / "root"), "one", "sh", given(*words, command="restore"), create.Options())
    assert not (tmp_path / "root").exists()


def test_the_last_errors_of_the_log_are_the_reason(tmp_path: Path) -> None:
    log = tmp_path / "dump.log"
    assert criu.why(str(log), "no such option\n") == "no such option"
    log.write_text("(00.1) fine\n(00.2) Error (criu/x.c:1): bad\n(00.3) after\n")
    assert criu.why(str(log), "") == "(00.2) Error (criu/x.c:1): bad"


def test_a_program_that_fails_is_an_error_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(Unknown, match="criu failed: status 3: too new .log file: .*dump.log"):
        criu._run(["/bin/sh", "-c", "echo too new >&2; exit 3"], "", str(tmp_path / "dump.log"))
