"""The image's pure parts: its key, the order of the modules, and the archive they are in."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from vm import kernel
from vm.recipe import VARIANTS, Recipe


def _modules(folder: Path, *lines: str, built_in: str = "") -> Path:
    (folder / "modules.dep").write_text("".join(f"{line}\n" for line in lines))
    (folder / "modules.builtin").write_text(built_in)
    return folder


def test_a_change_of_what_goes_in_gives_another_key() -> None:
    keys = {*(Recipe(variant).image_key for variant in VARIANTS), Recipe(disk_gib=9).image_key}
    assert len(keys) == len(VARIANTS) + 1


def test_memory_is_no_part_of_the_image() -> None:
    assert Recipe(memory_mib=1024).image_key == Recipe().image_key


def test_the_guest_has_the_package_and_its_tests_run_but_no_checkers() -> None:
    names = " ".join(Recipe().wheels)
    assert "grpcio>=" in names and "pytest>=" in names
    assert "mypy" not in names and "ruff" not in names


def test_modules_come_after_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "MODULES", ("virtio_pci", "ext4"))
    folder = _modules(
        tmp_path,
        "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko",
        "kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko",
        "kernel/fs/jbd2/jbd2.ko:",
    )
    names = [Path(path).stem for path in kernel.load_order(folder)]
    assert names == ["virtio", "virtio_ring", "virtio_pci", "crc16", "jbd2", "ext4"]


def test_a_module_may_be_part_of_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "MODULES", ("virtio_pci",))
    folder = _modules(tmp_path, built_in="kernel/drivers/virtio/virtio-pci.ko\n")
    assert kernel.load_order(folder) == []


def test_a_kernel_without_the_driver_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "MODULES", ("virtio_pci",))
    with pytest.raises(FileNotFoundError, match="no module virtio_pci"):
        kernel.load_order(_modules(tmp_path))


def test_busybox_unpacks_the_archive(tmp_path: Path) -> None:
    if shutil.which("busybox") is None:
        pytest.skip("busybox is not installed")
    archive = kernel.cpio(
        {"bin": (stat.S_IFDIR | 0o755, b""), "bin/tool": (stat.S_IFREG | 0o755, b"abc"), "empty": (stat.S_IFREG, b"")}
    )
    subprocess.run(["busybox", "cpio", "-id"], input=archive, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "bin/tool").read_bytes() == b"abc"
    assert (tmp_path / "bin/tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "empty").read_bytes() == b""
