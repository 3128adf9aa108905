"""Every option of the specification's table, one by one, as the program sees it in its mountinfo.

One that nothing can be seen of is still not passed to the filesystem, for a tmpfs refuses what it does not know.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Container, Failure

Seen = dict[str, set[str]]


def mounted(container: Container) -> Seen:
    """By target: the words of the mount itself, of its propagation, and of the filesystem."""
    found = {}
    for line in container.args("cat", "/proc/self/mountinfo").run().splitlines():
        fields = line.split()
        end = fields.index("-")
        found[fields[4]] = {*fields[5].split(","), *fields[6:end], *fields[end + 3].split(",")}
    return found


TMPFS = {  # what is then there, and what is not
    "async": ("rw", "sync"),
    "atime": ("rw", "noatime"),
    "defaults": ("rw", "nosuid nodev noexec"),
    "dev": ("rw", "nodev"),
    "diratime": ("rw", "nodiratime"),
    "dirsync": ("dirsync", ""),
    "exec": ("rw", "noexec"),
    "iversion": ("rw", ""),
    "lazytime": ("lazytime", ""),
    "loud": ("rw", ""),
    "mand": ("rw", ""),
    "noatime": ("noatime", "relatime"),
    "nodev": ("nodev", ""),
    "nodiratime": ("nodiratime", ""),
    "noexec": ("noexec", ""),
    "noiversion": ("rw", ""),
    "nolazytime": ("rw", "lazytime"),
    "nomand": ("rw", "mand"),
    "norelatime": ("rw", ""),
    "nostrictatime": ("relatime", ""),
    "nosuid": ("nosuid", ""),
    "nosymfollow": ("nosymfollow", ""),
    "relatime": ("relatime", "noatime"),
    "ro": ("ro", ""),
    "rw": ("rw", "ro"),
    "silent": ("rw", ""),
    "strictatime": ("rw", "relatime noatime"),
    "suid": ("rw", "nosuid"),
    "symfollow": ("rw", "nosymfollow"),
    "sync": ("sync", ""),
}


@pytest.mark.clause("config.mounts.option.{option}", "config.mounts.type")
@pytest.mark.parametrize("option", TMPFS)
def test_an_option_of_a_filesystem(container: Container, option: str) -> None:
    there, missing = TMPFS[option]
    expect_options(container, [option], there, missing)


def expect_options(container: Container, options: list[str], there: str, missing: str) -> None:
    mount = {"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", *options]}
    container.config["mounts"].append(mount)
    seen = mounted(container)["/data"]
    assert {"size=64k", *there.split()} <= seen
    assert not seen & {*missing.split()}


UNDONE = ["async sync", "atime noatime", "dev nodev", "diratime nodiratime", "exec noexec", "nolazytime lazytime"]
UNDONE += ["nomand mand", "rw ro", "suid nosuid", "symfollow nosymfollow"]


@pytest.mark.clause("config.mounts.option.{option}")
@pytest.mark.parametrize(("option", "before"), [tuple(pair.split()) for pair in UNDONE])
def test_an_option_undoes_its_opposite_before_it(container: Container, option: str, before: str) -> None:
    expect_options(container, [before, option], "rw", before)


@pytest.mark.clause("config.mounts.option.remount")
def test_what_is_mounted_gets_other_options(container: Container) -> None:
    mount = {"destination": "/data", "type": "tmpfs", "source": "tmpfs"}
    container.config["mounts"] += [mount, {**mount, "options": ["remount", "nosuid"]}]
    assert "nosuid" in mounted(container)["/data"]


@pytest.mark.clause("config.mounts.custom.data")
def test_other_options_go_to_the_filesystem(container: Container) -> None:
    mount = {"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["mode=711", "nodev", "uid=7"]}
    container.config["mounts"].append(mount)
    assert container.shell("stat -c '%a %u' /data").run() == "711 7\n"


@pytest.mark.clause("cli.mount.tmpfs-mode")
@pytest.mark.parametrize(("below", "mode"), [(0o751, "751"), (None, "1777")], ids=["there", "made"])
def test_a_tmpfs_has_the_mode_of_the_folder_that_it_covers(container: Container, below: int | None, mode: str) -> None:
    """But a folder that has to be made was nobody's wish: then it is open to all, as the kernel makes it."""
    if below is not None:
        (container.rootfs / "data").mkdir()
        (container.rootfs / "data").chmod(below)
    container.config["mounts"].append({"destination": "/data", "type": "tmpfs", "source": "tmpfs"})
    assert container.shell("stat -c %a /data").run() == f"{mode}\n"


@pytest.mark.clause("config.mounts.custom.data", "config.values.invalid-errors")
def test_an_option_that_nobody_knows_is_refused_by_the_filesystem(container: Container) -> None:
    mount = {"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["nosuchoption"]}
    container.config["mounts"].append(mount)
    with pytest.raises(Failure):
        container.create()


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A folder with a mount inside it."""
    folder = tmp_path / "outer"
    (folder / "inner").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "inner", folder / "inner"], check=True)
    yield folder
    subprocess.run(["umount", folder / "inner"], check=True)


@pytest.mark.clause("config.mounts.option.{option}", "config.mounts.bind", "config.mounts.type")
@pytest.mark.parametrize("option", ["bind", "rbind"])
@pytest.mark.parametrize("kind", ["bind", "none", None])
def test_rbind_brings_what_is_mounted_below_and_bind_does_not(
    container: Container, tree: Path, option: str, kind: str | None
) -> None:
    mount = {"destination": "/data", "source": str(tree), "options": [option], "type": kind}
    container.config["mounts"].append({key: value for key, value in mount.items() if value})
    assert ("/data/inner" in mounted(container)) == (option == "rbind")


@pytest.mark.clause("config.mounts.order", "config.mounts.options")
def test_a_later_mount_hides_an_earlier_one(container: Container) -> None:
    for number in (1, 2):
        (container.bundle / f"{number}").mkdir()
        (container.bundle / f"{number}/file").write_text(f"{number}")
        source = str(container.bundle / f"{number}")
        container.config["mounts"].append(
            {"destination": "/data", "source": source, "options": ["bind", "ro", "nodev"]}
        )
    assert container.args("cat", "/data/file").run() == "2"


RECURSIVE = {  # the rest is in test_mounts; what the inner mount has before, what it has then, what it has not
    "rnorelatime": ("relatime", "", ""),
    "rnostrictatime": ("strictatime", "", ""),
    "rnosymfollow": ("symfollow", "nosymfollow", ""),
    "rsymfollow": ("nosymfollow", "", "nosymfollow"),
}


@pytest.mark.clause("config.mounts.option.{option}", "config.mounts.recursive-attributes")
@pytest.mark.parametrize("option", RECURSIVE)
def test_an_option_for_everything_below(container: Container, tree: Path, option: str) -> None:
    before, there, missing = RECURSIVE[option]
    subprocess.run(["mount", "-o", f"remount,bind,{before}", tree / "inner"], check=True)
    container.config["mounts"].append({"destination": "/data", "source": str(tree), "options": ["rbind", option]})
    seen = mounted(container)["/data/inner"]
    assert {*there.split()} <= seen
    assert not seen & {*missing.split()}


@pytest.fixture
def shared_tree(tree: Path) -> Iterator[Path]:
    """The same, where both mounts are shared."""
    subprocess.run(["mount", "--bind", tree, tree], check=True)
    subprocess.run(["mount", "--make-shared", tree], check=True)
    (tree / "inner").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "inner", tree / "inner"], check=True)
    subprocess.run(["mount", "--make-shared", tree / "inner"], check=True)
    yield tree
    subprocess.run(["umount", tree / "inner"], check=True)
    subprocess.run(["umount", tree], check=True)


WORDS = {"shared": "shared:", "slave": "master:", "private": "", "unbindable": "unbindable"}


@pytest.mark.clause("config.mounts.option.{option}", "config.mounts.propagation")
@pytest.mark.parametrize("option", ["shared", "slave", "private", "unbindable"])
def test_the_propagation_of_one_mount(container: Container, shared_tree: Path, option: str) -> None:
    container.config["mounts"].append({"destination": "/data", "source": str(shared_tree), "options": ["bind", option]})
    container.linux["rootfsPropagation"] = "shared" if option == "shared" else "rslave"
    expect_propagation(mounted(container)["/data"], option)


@pytest.mark.clause("config.mounts.option.r{option}", "config.mounts.propagation")
@pytest.mark.parametrize("option", ["shared", "slave", "private", "unbindable"])
def test_the_propagation_of_everything_below(container: Container, shared_tree: Path, option: str) -> None:
    mount = {"destination": "/data", "source": str(shared_tree), "options": ["rbind", f"r{option}"]}
    container.config["mounts"].append(mount)
    container.linux["rootfsPropagation"] = "shared" if option == "shared" else "rslave"
    seen = mounted(container)
    expect_propagation(seen["/data"], option)
    expect_propagation(seen["/data/inner"], option)


def expect_propagation(seen: set[str], option: str) -> None:
    words = {word for word in seen if word.startswith(("shared:", "master:", "unbindable", "propagate_from"))}
    assert any(word.startswith(WORDS[option]) for word in words) if WORDS[option] else not words


@pytest.mark.clause("linux.rootfs-propagation.{option}")
@pytest.mark.parametrize("option", ["shared", "slave", "private"])
def test_mounts_inside_are_seen_by_others_of_a_shared_root_only(container: Container, option: str) -> None:
    container.linux["rootfsPropagation"] = option
    is_shared = any(word.startswith("shared:") for word in mounted(container)["/"])
    assert is_shared == (option == "shared")


@pytest.mark.clause("config.mounts.source-relative")
def test_a_relative_source_begins_at_the_bundle(container: Container) -> None:
    (container.bundle / "beside").mkdir()
    (container.bundle / "beside/file").write_text("found")
    container.config["mounts"].append({"destination": "/data", "source": "beside", "options": ["bind"]})
    assert container.args("cat", "/data/file").run() == "found"


@pytest.mark.clause("config.mounts.relative-to-root", "config.mounts.relative")
def test_a_relative_destination_begins_at_the_root(container: Container) -> None:
    container.process["cwd"] = "/tmp"
    container.config["mounts"].append({"destination": "data", "type": "tmpfs", "source": "tmpfs"})
    assert "/data" in mounted(container)
