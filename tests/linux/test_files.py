"""File verbs: lookups stay beneath the directory that is held, and what is made is exactly what was asked."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicontainerd.linux import files
from minicontainerd.linux.files import Resolve

IN_ROOT = Resolve.IN_ROOT | Resolve.NO_MAGICLINKS


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "root").mkdir()
    descriptor = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_a_link_that_points_out_leads_back_to_the_root(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir()
    (tmp_path / "root/link").symlink_to("/etc")
    (tmp_path / "root/up").symlink_to("../../../../etc")
    for name in ("etc", "link", "up", "/etc", "../etc", "link/../../etc"):
        found = files.openat2(root, name, os.O_PATH | os.O_DIRECTORY, IN_ROOT)
        assert os.path.samestat(os.fstat(found), os.stat(tmp_path / "root/etc")), name
        os.close(found)


@pytest.mark.parametrize(("path", "code"), [("..", errno.EXDEV), ("/", errno.EXDEV), ("link", errno.ELOOP)])
def test_beneath_and_without_links_is_an_error(root: int, tmp_path: Path, path: str, code: int) -> None:
    (tmp_path / "root/link").symlink_to(".")
    with pytest.raises(OSError) as caught:
        files.openat2(root, path, os.O_PATH, Resolve.BENEATH | Resolve.NO_SYMLINKS)
    assert caught.value.errno == code


def test_create_follows_no_link_and_replaces_nothing(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/link").symlink_to(tmp_path / "outside")
    with pytest.raises(FileExistsError):
        files.create(root, "link")
    assert not (tmp_path / "outside").exists()


def test_remove_all_removes_links_and_not_their_targets(root: int, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").touch()
    (tmp_path / "root/a/b").mkdir(parents=True)
    (tmp_path / "root/a/b/link").symlink_to(tmp_path / "outside")
    files.remove_all(root, "a")
    files.remove_all(root, "missing")
    assert os.listdir(tmp_path / "root") == []
    assert (tmp_path / "outside/kept").exists()


def test_remove_all_needs_no_depth(root: int) -> None:
    here = os.dup(root)
    for _ in range(3000):
        files.mkdirat(here, "d", 0o755)
        files.mkdirat(here, "e", 0o755)
        below = os.open("d", os.O_PATH, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    files.remove_all(root, "d")
    files.remove_all(root, "e")
    assert os.listdir(f"/proc/self/fd/{root}") == []


def test_attributes_are_set_on_a_link_itself(root: int, tmp_path: Path) -> None:
    files.symlinkat("/nowhere", root, "link")
    files.utimensat(root, "link", 1_000_000_001, 2_000_000_002)
    found = os.lstat(tmp_path / "root/link")
    assert stat.S_ISLNK(found.st_mode)
    assert found.st_mtime_ns == 2_000_000_002


def test_extended_attributes_read_back(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/file").touch()
    files.lsetxattr(root, "file", "user.one", b"\x00\xff")
    assert files.llistxattr(root, "file") == ["user.one"]
    assert files.lgetxattr(root, "file", "user.one") == b"\x00\xff"
    assert files.lgetxattr(root, "file", "user.two") is None


def test_the_data_of_a_sparse_file_is_found_and_copied(tmp_path: Path) -> None:
    size = 1 << 20
    with open(tmp_path / "sparse", "wb+") as source, open(tmp_path / "copy", "wb+") as target:
        source.seek(size // 2)
        source.write(b"x" * 4096)
        source.truncate(size)
        source.flush()
        extents = files.data_extents(source.fileno(), size)
        assert extents == [(size // 2, 4096)]
        for start, length in extents:
            files.copy_range(source.fileno(), target.fileno(), start, length)
        target.truncate(size)
        target.seek(0)
        assert target.read() == (tmp_path / "sparse").read_bytes()
        with pytest.raises(OSError, match="shorter"):
            files.copy_range(source.fileno(), target.fileno(), size - 1, 2)
