"""The machine as a command line, and what of the working tree it is given."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from vm import host, share
from vm.qemu import Qemu, QemuFailed
from vm.recipe import Recipe


@pytest.fixture
def qemu(tmp_path: Path) -> Qemu:
    return Qemu(Recipe(), tmp_path, "tcg", 2, 2222, tmp_path / "data.raw", "none")


def test_no_packet_leaves_the_machine(qemu: Qemu) -> None:
    [network] = [word for word in qemu.command() if word.startswith("user,")]
    assert "restrict=on" in network and "hostfwd=tcp:127.0.0.1:2222-:22" in network


def test_the_disk_that_outlives_it_is_cached_as_asked(qemu: Qemu) -> None:
    [data] = [word for word in qemu.command() if "id=data" in word and word.startswith("file=")]
    assert "cache=none" in data


def test_by_hand_it_needs_nothing_that_ended_with_it(qemu: Qemu) -> None:
    words = shlex.split(qemu.by_hand())
    assert str(qemu.folder) not in qemu.by_hand()
    assert "stdio,id=console,signal=off" in words
    assert any(word.startswith(f"file={qemu.recipe.folder / 'root.ext4'}") and "snapshot=on" in word for word in words)


def test_a_command_to_a_machine_that_was_not_started_is_refused(qemu: Qemu) -> None:
    with pytest.raises(QemuFailed, match="was not started"):
        qemu.ask("query-status")


def test_the_source_is_what_git_knows_of() -> None:
    files = share.source_files()
    assert Path("vm/share.py") in files and Path("pyproject.toml") in files
    assert not [path for path in files if ".venv" in path.parts or path.suffix == ".pyc"]


def test_kvm_is_refused_with_a_reason_or_tried() -> None:
    assert host.kvm_reason() == "" or "KVM" not in host.kvm_reason()
