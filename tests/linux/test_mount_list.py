"""Mounting a snapshotter's list: the real calls, in a folder of the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicontainerd.linux.mount import MNT
from minicontainerd.linux.mount_list import mount_all, unmount_all
from minicontainerd.linux.mountinfo import mount_of
from minicontainerd.oci.mount import Mount

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    target = tmp_path / "target"
    target.mkdir()
    yield target
    unmount_all(str(target), MNT.DETACH)


def test_a_read_only_bind_mount_takes_a_second_call(target: Path, tmp_path: Path) -> None:
    mount_all([Mount("bind", str(tmp_path), options=("rbind", "ro"))], str(target))
    assert mount_of(str(target)).options.startswith("ro")
    with pytest.raises(OSError, match="Read-only"):
        (target / "file").touch()


def test_unmount_takes_away_a_whole_stack(target: Path, tmp_path: Path) -> None:
    mount_all([Mount("tmpfs", "tmpfs"), Mount("tmpfs", "tmpfs", options=("size=64k",))], str(target))
    unmount_all(str(target))
    assert mount_of(str(target)).target != str(target)


def test_an_overlay_of_more_layers_than_fit_in_a_page_is_mounted(target: Path, tmp_path: Path) -> None:
    stack = tmp_path / ("long" * 50)
    layers = [stack / str(number) for number in range(40)]
    for layer in layers:
        layer.mkdir(parents=True)
        (layer / f"from-{layer.name}").touch()
    options = ("lowerdir=" + ":".join(map(str, layers)),)
    before = os.getcwd()
    mount_all([Mount("overlay", "overlay", options=options)], str(target))
    assert len(list(target.iterdir())) == 40
    assert os.getcwd() == before
