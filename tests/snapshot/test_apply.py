"""Applying layers: everything an entry says is done, whiteouts hide, both snapshotters agree, and nothing gets out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance import tree
from minicontainerd.errors import ContainerdError, InvalidArgument
from minicontainerd.oci.digest import of
from minicontainerd.oci.mount import Mount
from minicontainerd.snapshot import tar
from minicontainerd.snapshot.apply import apply
from minicontainerd.snapshot.directories import DirectorySnapshotter
from minicontainerd.snapshot.native import NativeSnapshotter
from minicontainerd.snapshot.overlayfs import OverlaySnapshotter
from minicontainerd.snapshot.tar import Entry
from tests.mounting import mounted
from tests.snapshot.layers import Item, chunks, directory, file, link, many, symlink

KINDS: list[type[DirectorySnapshotter]] = [NativeSnapshotter, OverlaySnapshotter]
Layers = list[list[Item]]
Stack = Callable[..., "contextlib.AbstractContextManager[Path]"]


@contextlib.contextmanager
def stacked(kind: type[DirectorySnapshotter], where: Path, layers: Layers) -> Iterator[Path]:
    """The filesystem that *layers* make, lowest first, mounted."""
    snapshots = kind(where / "root")
    parent = ""
    for number, items in enumerate(layers):
        apply(snapshots.prepare(f"key {number}", parent), chunks(*items))
        snapshots.commit(f"layer {number}", f"key {number}")
        parent = f"layer {number}"
    with mounted(snapshots.view("view", parent), where / "mnt") as root:
        yield root
    snapshots.close()


@pytest.fixture(params=KINDS, ids=["native", "overlayfs"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Stack:
    return lambda *layers: stacked(request.param, tmp_path, list(layers))


def names(root: Path) -> list[str]:
    return sorted(name for name in tree.read(root) if name != ".")


def test_everything_an_entry_says_is_done(stack: Stack) -> None:
    second = 10**9
    items: list[Item] = [
        directory("d", 0o1751, uid=5, gid=6, mtime=1_000_000_007, xattrs={"user.d": b"\0\xff"}),
        file("d/f", b"data", mode=0o6754, uid=1000, gid=2000, mtime=123 * second + 456, xattrs={"user.f": b"v"}),
        Entry("d/null", tar.CHARACTER, 0o666, major=1, minor=3),
        Entry("d/disk", tar.BLOCKS, 0o600, major=8, minor=300),
        Entry("d/pipe", tar.FIFO, 0o620),
        Entry("d/sym", tar.SYMLINK, uid=7, link="../nowhere", mtime=9 * second),
        link("d/hard", "d/f"),
        file("d/late", mtime=second),  # the time of d must not be that of its last child
    ]
    items[-2] = Entry("d/hard", tar.LINK, 0o6754, 1000, 2000, link="d/f", mtime=123 * second + 456)
    with stack(items) as root:
        found = tree.read(root)
    assert found["d"].mtime == 1_000_000_007
    assert (found["d"].mode, found["d"].owner, found["d"].xattrs) == ("0o1751", "5:6", (("user.d", b"\0\xff"),))
    node = found["d/f"]
    assert (node.mode, node.owner, node.size, node.mtime) == ("0o6754", "1000:2000", 4, 123 * second + 456)
    assert (node.content, node.xattrs) == (of(b"data").removeprefix("sha256:"), (("user.f", b"v"),))
    assert node.same == found["d/hard"].same == ("d/f", "d/hard")
    assert [(found[f"d/{n}"].type, found[f"d/{n}"].content) for n in ("null", "disk")] == [("c", "1:3"), ("b", "8:300")]
    assert (found["d/pipe"].type, found["d/pipe"].mode) == ("p", "0o620")
    assert (found["d/sym"].content, found["d/sym"].owner, found["d/sym"].mtime) == ("../nowhere", "7:0", 9 * second)


def test_capabilities_of_files_survive(stack: Stack) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    with stack([file("ping", b"x", mode=0o755, uid=1, xattrs={"security.capability": capability})]) as root:
        assert os.getxattr(root / "ping", "security.capability") == capability


def test_trusted_attributes_of_a_layer_are_ignored(stack: Stack) -> None:
    with stack([directory("d", xattrs={"trusted.overlay.opaque": b"y", "trusted.x": b"y"})]) as root:
        assert os.listxattr(root / "d") == []


def test_sparse_files_stay_sparse(tmp_path: Path) -> None:
    body = b"1\n1048576\n4096\n".ljust(512, b"\0") + b"x" * 4096
    records = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "s",
        "GNU.sparse.realsize": "9999999",
    }
    text = b""
    for key, value in records.items():
        line = f" {key}={value}\n"
        text += f"{len(line) + 2}{line}".encode()
    pax = tar.pack(Entry("x", b"x", size=len(text))) + text + tar.padding(len(text))
    data = pax + tar.pack(Entry("s.0", size=len(body))) + body + tar.END
    apply((Mount("bind", str(tmp_path), "", ("rw",)),), [data])
    found = os.stat(tmp_path / "s")
    assert (found.st_size, found.st_blocks * 512 < 100_000) == (9999999, True)
    assert (tmp_path / "s").read_bytes().strip(b"\0") == b"x" * 4096


def test_the_digest_is_of_the_whole_stream(tmp_path: Path) -> None:
    data = b"".join(chunks(*many(["a", "b"]))) + bytes(100_000)
    applied = apply((Mount("bind", str(tmp_path), "", ("rw",)),), [data[:700], data[700:]])
    assert applied == (of(data), len(data))


BELOW: list[Item] = [directory("d"), *many(["d/a", "d/b", "f"]), directory("d/e"), *many(["d/e/x"])]


@pytest.mark.parametrize(
    ("layer", "left"),
    [
        ([file(".wh.f")], ["d", "d/a", "d/b", "d/e", "d/e/x"]),
        ([file("d/.wh.a")], ["d", "d/b", "d/e", "d/e/x", "f"]),
        ([file(".wh.d")], ["f"]),
        ([file(".wh.missing")], ["d", "d/a", "d/b", "d/e", "d/e/x", "f"]),
        ([file("d/.wh..wh..opq")], ["d", "f"]),
        ([directory("d"), file("d/new"), file("d/.wh..wh..opq")], ["d", "d/new", "f"]),
        ([file("d/n/new"), file("d/.wh..wh..opq")], ["d", "d/n", "d/n/new", "f"]),
        ([file("d/.wh..wh..opq"), file("d/e/y")], ["d", "d/e", "d/e/y", "f"]),
        ([file(".wh.d"), file("d/new")], ["d", "d/new", "f"]),
        ([file(".wh.d"), directory("d"), file("d/new")], ["d", "d/new", "f"]),
        ([directory("d"), file("d/new"), file(".wh.d")], ["d", "d/new", "f"]),
        ([file("f", b"new"), file(".wh.f")], ["d", "d/a", "d/b", "d/e", "d/e/x", "f"]),
        ([file("d", b"now a file")], ["d", "f"]),
        ([file("d", b"now a file"), directory("d")], ["d", "f"]),
        ([symlink("d", "f"), directory("d"), file("d/z")], ["d", "d/z", "f"]),
        ([directory("f"), file("f/x")], ["d", "d/a", "d/b", "d/e", "d/e/x", "f", "f/x"]),
        ([directory("d", 0o700)], ["d", "d/a", "d/b", "d/e", "d/e/x", "f"]),
    ],
)
def test_whiteouts_and_replacements_hide_what_is_below(stack: Stack, layer: list[Item], left: list[str]) -> None:
    with stack(BELOW, layer) as root:
        assert names(root) == left


def test_whiteouts_hide_for_all_layers_above(stack: Stack) -> None:
    with stack(BELOW, [file(".wh.d")], [file("d/new")], [directory("g")]) as root:
        assert names(root) == ["d", "d/new", "f", "g"]


def test_a_parent_that_only_lower_layers_have_keeps_its_attributes(stack: Stack) -> None:
    with stack([directory("d", 0o2750, uid=3, gid=4, mtime=5, xattrs={"user.a": b"b"})], [file("d/new")]) as root:
        node = tree.read(root)["d"]
    assert (node.mode, node.owner, node.mtime, node.xattrs) == ("0o2750", "3:4", 5, (("user.a", b"b"),))


def test_a_link_of_a_lower_layer_is_followed(stack: Stack) -> None:
    below = [directory("usr"), directory("usr/lib"), symlink("lib", "usr/lib"), symlink("abs", "/usr/../usr/lib/.")]
    with stack(below, many(["lib/new", "abs/other", "abs/deep/er"])) as root:
        assert os.readlink(root / "lib") == "usr/lib"
        assert sorted(os.listdir(root / "usr/lib")) == ["deep", "new", "other"]


def test_a_hard_link_to_a_lower_layer_is_the_same_file(stack: Stack) -> None:
    below = [directory("d", 0o700), file("d/f", b"data", mode=0o4755, uid=9, mtime=77, xattrs={"user.a": b"b"})]
    above = [Entry("e", tar.LINK, 0o4755, 9, 0, link="d/f", mtime=77, xattrs={"user.a": b"b"})]
    with stack(below, above) as root:
        found = tree.read(root)
        assert (root / "d/f").read_bytes() == b"data"
    assert found["e"].same == ("d/f", "e")
    assert (found["e"].mode, found["e"].owner, found["e"].mtime) == ("0o4755", "9:0", 77)
    assert found["d"].mode == "0o700"


def test_a_hard_link_may_be_to_a_symbolic_link(stack: Stack) -> None:
    with stack([symlink("s", "nowhere")], [link("h", "s")]) as root:
        assert os.readlink(root / "h") == "nowhere"


@pytest.mark.parametrize(
    ("items", "made"),
    [
        (many(["../../out"]), ["out"]),
        (many(["/out"]), ["out"]),
        (many(["a/../../../out"]), ["out"]),
        ([symlink("a", "/"), *many(["a/out"])], ["a", "out"]),
        ([symlink("a", "../../../.."), *many(["a/out"])], ["a", "out"]),
        ([symlink("a", "{outside}"), *many(["a/out"])], None),
        ([symlink("a", "b"), symlink("b", "{outside}"), directory("a"), *many(["a/out"])], None),
        ([symlink("out", "{outside}/kept"), *many(["out"])], ["out"]),
        ([symlink("a", "{outside}"), directory("a/d", 0o777)], None),
        ([symlink("a", "{outside}"), file("a/.wh.kept")], None),
        ([symlink("a", "{outside}"), file("a/.wh..wh..opq")], None),
        ([symlink("a", "/proc/self/root"), *many(["a/out"])], None),
        ([file(".wh.../x")], None),
    ],
)
def test_nothing_is_written_outside(stack: Stack, tmp_path: Path, items: list[Item], made: list[str] | None) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("as it was")
    before = tree.read(outside)
    hostile = [copied(item, {"{outside}": str(outside)}) for item in items]
    with stack([file("base")], hostile) as root:
        left = names(root)
        if made is not None:
            assert left == sorted(["base", *made])
    assert tree.read(outside) == before


def copied(item: Item, words: dict[str, str]) -> Item:
    entry, data = item if isinstance(item, tuple) else (item, b"")
    target = entry.link
    for old, new in words.items():
        target = target.replace(old, new)
    return dataclasses.replace(entry, link=target), data


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([link("h", "{outside}/kept")], "h.*which is not there"),
        ([link("h", "../../../{outside}/kept")], "h.*which is not there"),
        ([symlink("a", "{outside}"), link("h", "a/kept")], "h.*which is not there"),
        ([directory("d"), link("h", "d")], "h"),
        ([link("h", "h")], "h.*which is not there"),
        ([file("f"), file("f/below")], "f/below.*Not a directory"),
        ([Entry("n", tar.CHARACTER, major=1), file("n/below")], "n/below.*Not a directory"),
        ([symlink("a", "a"), file("a/x")], "a/x"),
        ([file(".wh.")], "invalid whiteout name"),
        ([file(".wh...")], "invalid whiteout name"),
        ([file("x" * 300)], "x.*name too long"),
        ([Entry("v", b"V")], "unhandled tar header type 86"),
        ([Entry("e", tar.SYMLINK)], "e"),
    ],
)
def test_what_cannot_be_is_refused_by_name(stack: Stack, tmp_path: Path, items: list[Item], words: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").touch()
    hostile = [copied(item, {"{outside}": str(tmp_path / "outside")}) for item in items]
    with pytest.raises(InvalidArgument, match=f'(?s)layer entry ".*{words}'), stack([file("base")], hostile):
        pass
    assert os.stat(tmp_path / "outside/kept").st_nlink == 1


def test_a_deep_tree_can_be_applied_and_removed(tmp_path: Path) -> None:
    snapshots = OverlaySnapshotter(tmp_path / "root")
    apply(snapshots.prepare("key"), chunks(file("d/" * 300 + "f")))
    snapshots.remove("key")
    assert os.listdir(tmp_path / "root/snapshots") == []
    snapshots.close()


words = st.sampled_from(["a", "b", "c"])
paths = st.lists(words, min_size=1, max_size=3).map("/".join)
items: st.SearchStrategy[Item] = st.one_of(
    st.builds(lambda path, data: file(path, data, mtime=len(data)), paths, st.binary(max_size=3)),
    st.builds(directory, paths, st.sampled_from([0o755, 0o700])),
    st.builds(lambda path, target, up: symlink(path, up + target), paths, paths, st.sampled_from(["", "/", "../"])),
    st.builds(link, paths, paths),
    st.builds(lambda path: file("/".join([*path.split("/")[:-1], ".wh." + path.split("/")[-1]])), paths),
    st.builds(lambda path: file(path + "/.wh..wh..opq"), paths),
    st.builds(lambda path: Entry(path, tar.FIFO), paths),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(items, max_size=6), min_size=1, max_size=4))
def test_both_snapshotters_come_to_the_same_tree(layers: Layers) -> None:
    """The kernel's overlay and plain deletion must agree on what any stack of layers means."""
    trees, errors = [], []
    for kind in KINDS:
        where = Path(tempfile.mkdtemp(prefix="layers-"))
        try:
            with stacked(kind, where, layers) as root:
                trees.append(tree.read(root))
        except ContainerdError as error:
            errors.append(str(error).partition(":")[0])
        finally:
            shutil.rmtree(where)
    assert len(errors) in (0, 2), errors
    if not errors:
        assert tree.differences(*trees, ignore=["mtime", "same"]) == []
    else:
        assert errors[0] == errors[1]


def test_modes_are_those_of_the_entry_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        apply((Mount("bind", str(tmp_path), "", ("rw",)),), chunks(file("implied/f", mode=0o666)))
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(tmp_path / "implied").st_mode) == 0o755
    assert stat.S_IMODE(os.stat(tmp_path / "implied/f").st_mode) == 0o666
