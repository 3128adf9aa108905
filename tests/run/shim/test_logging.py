"""Where output goes when nobody reads a FIFO: files, and logging programs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from minicontainerd.errors import Unknown
from minicontainerd.run.shim.logger import start_logger
from tests.run.shim.daemon import NAMESPACE, Daemon

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="containers need root")


def program(folder: Path, script: str) -> str:
    path = folder / "logger"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def wait_for(path: Path) -> str:
    give_up = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < give_up, f"{path} did not come"
        time.sleep(0.01)
    return path.read_text()


@needs_root
def test_a_logging_program_reads_both_streams_to_their_end(daemon: Daemon, tmp_path: Path) -> None:
    log, done = tmp_path / "log", tmp_path / "done"
    script = f'echo "$@" $CONTAINER_ID $CONTAINER_NAMESPACE > {log}; exec 5>&-; cat <&3 >> {log}; cat <&4 >> {log}'
    logger = program(tmp_path, f"{script}; mv {log} {done}")
    daemon.config["process"]["args"] = ["sh", "-c", "echo out; echo err >&2"]
    daemon.start()
    daemon.create(stdout=f"binary://{logger}?key=value", stderr=f"binary://{logger}?key=value")
    daemon.begin()
    assert daemon.wait() == 0
    assert wait_for(done) == f"key value {daemon.id} {NAMESPACE}\nout\nerr\n"
    daemon.delete()
    daemon.shut_down()


@needs_root
@pytest.mark.parametrize("script", ["exit 0", "exit 3", "kill -9 $$"])
def test_a_logging_program_that_dies_before_it_is_ready_fails_the_create(
    daemon: Daemon, tmp_path: Path, script: str
) -> None:
    daemon.start()
    with pytest.raises(Unknown, match="OCI runtime create failed: logging binary did not call ready"):
        daemon.create(stdout=f"binary://{program(tmp_path, script)}")
    daemon.shut_down()


@needs_root
def test_a_logging_program_that_is_not_there_is_named(daemon: Daemon) -> None:
    daemon.start()
    with pytest.raises(Unknown, match="failed to start binary process: /nowhere: no such file or directory"):
        daemon.create(stdout="binary:///nowhere")
    daemon.shut_down()


@needs_root
def test_a_file_is_appended_to_and_its_folder_made(daemon: Daemon, tmp_path: Path) -> None:
    log = tmp_path / "some folder" / "log"
    daemon.config["process"]["args"] = ["sh", "-c", "echo one; echo two >&2"]
    daemon.start()
    log.parent.mkdir()
    log.write_text("zero\n")
    uri = f"file://{tmp_path}/some%20folder/log"
    daemon.create(stdout=uri, stderr=f"file://{tmp_path}/made/log")
    daemon.begin()
    assert daemon.wait() == 0
    assert log.read_text() == "zero\none\n"
    assert (tmp_path / "made/log").read_text() == "two\n"
    daemon.delete()
    daemon.shut_down()


def test_the_second_form_of_ready_is_a_byte(tmp_path: Path) -> None:
    ready = program(tmp_path, "printf . >&5; exec 5>&-; cat <&3 >/dev/null")
    for end in start_logger(f"binary-v2://{ready}", "id", "ns"):
        os.close(end)
    os.wait()
    silent = program(tmp_path, "exec 5>&-; exec sleep 1000")
    with pytest.raises(Unknown, match="did not call ready"):
        start_logger(f"binary-v2://{silent}", "id", "ns")
    os.wait()


def test_a_program_that_leaves_a_reader_behind_is_ready(tmp_path: Path) -> None:
    leaves = program(tmp_path, f"(exec 5>&-; cat <&3 > {tmp_path}/log; mv {tmp_path}/log {tmp_path}/done) & exit 0")
    out, error = start_logger(f"binary://{leaves}", "id", "ns")
    os.wait()
    os.write(out, b"heard")
    os.close(out)
    os.close(error)
    assert wait_for(tmp_path / "done") == "heard"
