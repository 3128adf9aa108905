"""Mounts of a config: what their options do, and whose files they show."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Container, Failure
from .test_user_namespace import in_user_namespace, mount

pytestmark = pytest.mark.needs("root")


def options_of(container: Container, *targets: str) -> list[set[str]]:
    """The options and the propagation of the last mount at each of *targets*, as the program sees them."""
    found: dict[str, set[str]] = {}
    for line in container.args("cat", "/proc/self/mountinfo").run().splitlines():
        fields = line.split()
        found[fields[4]] = {*fields[5].split(","), *fields[6 : fields.index("-")]}
    return [found[target] for target in targets]


@pytest.fixture
def outer(tmp_path: Path) -> Iterator[Path]:
    """A folder that is a mount, with another below it, at ``inner``."""
    folder = tmp_path / "outer"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "outer", folder], check=True)
    (folder / "inner").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "inner", folder / "inner"], check=True)
    yield folder
    subprocess.run(["umount", folder / "inner", folder], check=True)


SETS = {"ro": "ro", "nosuid": "nosuid", "nodev": "nodev", "noexec": "noexec", "noatime": "noatime"}
RECURSIVE = {"rro": "ro", "rnosuid": "nosuid", "rnodev": "nodev", "rnoexec": "noexec", "rnoatime": "noatime"}
RECURSIVE |= {"rnodiratime": "nodiratime", "rrelatime": "relatime"}
CLEARED = {"rrw": "ro", "rsuid": "nosuid", "rdev": "nodev", "rexec": "noexec", "rdiratime": "nodiratime"}
CLEARED |= {"ratime": "noatime", "rnoatime": "relatime", "rstrictatime": "relatime"}


@pytest.mark.clause("config.mounts.options", "config.mounts.option.{option}")
@pytest.mark.parametrize("option", SETS)
def test_an_option_is_of_the_mount_itself_and_not_of_those_below(
    container: Container, outer: Path, option: str
) -> None:
    container.config["mounts"].append(mount("/data", "bind", "rbind", option, source=str(outer)))
    top, below = options_of(container, "/data", "/data/inner")
    assert SETS[option] in top
    assert SETS[option] not in below


@pytest.mark.clause("config.mounts.recursive-attributes", "config.mounts.option.{option}")
@pytest.mark.parametrize("option", RECURSIVE)
def test_a_recursive_option_is_of_all_mounts_below(container: Container, outer: Path, option: str) -> None:
    container.config["mounts"].append(mount("/data", "bind", "rbind", option, source=str(outer)))
    for found in options_of(container, "/data", "/data/inner"):
        assert RECURSIVE[option] in found


@pytest.mark.clause("config.mounts.recursive-attributes", "config.mounts.option.{option}")
@pytest.mark.parametrize("option", CLEARED)
def test_a_recursive_option_takes_back_what_the_mounts_came_with(
    container: Container, outer: Path, option: str
) -> None:
    for folder in (outer, outer / "inner"):
        subprocess.run(["mount", "-o", f"remount,bind,{CLEARED[option]}", folder], check=True)
    container.config["mounts"].append(mount("/data", "bind", "rbind", option, source=str(outer)))
    for found in options_of(container, "/data", "/data/inner"):
        assert CLEARED[option] not in found


@pytest.mark.clause("config.mounts.option.nosymfollow")
def test_links_are_not_followed_with_nosymfollow(container: Container, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("text")
    (source / "link").symlink_to("file")
    container.config["mounts"].append(mount("/data", "bind", "bind", "nosymfollow", source=str(source)))
    said = container.shell("cat /data/file; readlink /data/link; cat /data/link 2>&1; true").run()
    assert said.startswith("textfile\n")
    assert "Too many levels of symbolic links" in said


@pytest.mark.clause("config.mounts.option.ro", "config.mounts.order")
@pytest.mark.parametrize(("where", "kind"), [("/dev", "tmpfs"), ("/dev", "ramfs"), ("/data", "tmpfs")])
def test_what_is_read_only_in_the_end_takes_other_mounts_and_devices_before(
    container: Container, where: str, kind: str
) -> None:
    mounts = [each for each in container.config["mounts"] if not each["destination"].startswith("/dev")]
    mounts += [mount(where, kind, "ro", "nosuid", "mode=755"), mount(f"{where}/inner", "tmpfs")]
    container.config["mounts"] = mounts
    script = f"touch {where}/file 2>&1; touch {where}/inner/file && echo made; grep ' {where} ' /proc/self/mounts"
    *said, found = container.shell(script).run().splitlines()
    assert said == [f"touch: {where}/file: Read-only file system", "made"]
    assert found.split()[3].split(",")[:2] == ["ro", "nosuid"]


@pytest.mark.clause("config.mounts.option.tmpcopyup")
def test_tmpcopyup_copies_the_folder_into_the_tmpfs(container: Container) -> None:
    folder = container.rootfs / "state"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/file").write_text("text")
    (folder / "deep/er/file").chmod(0o646)
    os.chown(folder / "deep/er/file", 5, 6)
    (folder / "deep").chmod(0o750)
    (folder / "link").symlink_to("/no/where")
    container.config["mounts"].append(mount("/state", "tmpfs", "tmpcopyup"))
    script = "cat /state/deep/er/file; readlink /state/link; stat -c '%a %u:%g' /state/deep /state/deep/er/file"
    said = container.shell(f"{script}; echo new > /state/deep/er/file; touch /state/made").run()
    assert said.splitlines() == ["text/no/where", "750 0:0", "646 5:6"]
    assert (folder / "deep/er/file").read_text() == "text"
    assert not (folder / "made").exists()


@pytest.mark.clause("config.mounts.options")
def test_a_tmpfs_is_empty_without_it(container: Container) -> None:
    (container.rootfs / "state").mkdir()
    (container.rootfs / "state/file").touch()
    container.config["mounts"].append(mount("/state", "tmpfs"))
    assert container.shell("ls /state; echo end").run() == "end\n"


@pytest.mark.clause("config.mounts.bind")
def test_a_missing_source_is_named(container: Container) -> None:
    container.config["mounts"].append(mount("/data", "bind", "bind", source="/no/such/source"))
    with pytest.raises(Failure, match="/no/such/source"):
        container.create()


@pytest.mark.clause("config.mounts.source-relative")
def test_a_relative_source_counts_from_the_bundle(container: Container) -> None:
    (container.bundle / "source").write_text("text")
    container.config["mounts"].append(mount("/data", "bind", "bind", source="source"))
    assert container.args("cat", "/data").run() == "text"


@pytest.mark.clause("config.mounts.relative", "config.mounts.relative-to-root")
def test_a_relative_destination_counts_from_the_root(container: Container) -> None:
    container.process["cwd"] = "/tmp"
    container.config["mounts"].append(mount("some/where", "tmpfs"))
    assert options_of(container, "/some/where")


@pytest.mark.clause(
    "linux.rootfs-propagation.shared", "linux.rootfs-propagation.slave", "linux.rootfs-propagation.private"
)
@pytest.mark.parametrize(("word", "field"), [("shared", "shared:"), ("slave", "master:"), ("private", "")])
def test_the_propagation_of_the_root_is_as_asked(container: Container, word: str, field: str) -> None:
    subprocess.run(["mount", "--bind", container.rootfs, container.rootfs], check=True)
    subprocess.run(["mount", "--make-shared", container.rootfs], check=True)
    try:
        container.linux["rootfsPropagation"] = word
        (found,) = options_of(container, "/")
    finally:
        subprocess.run(["umount", container.rootfs], check=True)
    fields = {each for each in found if ":" in each}
    assert any(each.startswith(field) for each in fields) if field else not fields


@pytest.mark.clause("linux.rootfs-propagation.unbindable")
def test_an_unbindable_root_cannot_be_bound(container: Container) -> None:
    container.linux["rootfsPropagation"] = "unbindable"
    (found,) = options_of(container, "/")
    assert "unbindable" in found


@pytest.mark.clause("config.values.invalid-errors")
def test_a_propagation_that_nobody_knows_is_refused(container: Container) -> None:
    container.linux["rootfsPropagation"] = "sideways"
    with pytest.raises(Failure):
        container.create()


@pytest.mark.clause("cli.create.no-pivot", "config.root.is-slash")
def test_without_pivot_root_the_rootfs_is_slash_as_well(container: Container) -> None:
    (container.rootfs / "mark").write_text("here")
    container.shell("cat /mark; ls /").create("--no-pivot").start().wait("stopped")
    said = container.output.read_text()
    assert said.startswith("here")
    assert set(said.removeprefix("here").split()) >= {"bin", "dev", "mark", "proc", "tmp"}
    assert "run" not in said.split()


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder on a filesystem that can map owners; /tmp may be a tmpfs, which learned it later."""
    folder = Path(tempfile.mkdtemp(prefix="minicontainerd-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "inner").mkdir()
    (folder / "root").touch()
    (folder / "user").touch()
    os.chown(folder / "user", 1000, 1000)
    yield folder
    shutil.rmtree(folder)


OWN = [{"containerID": 0, "hostID": 20000, "size": 5000}]


@pytest.mark.clause("config.mounts.option.idmap", "config.mounts.idmap.mapped", "config.mounts.idmap.own-mappings")
def test_a_mount_with_mappings_shows_other_owners(container: Container, on_disk: Path) -> None:
    each = mount("/data", "bind", "bind", "idmap", source=str(on_disk))
    container.config["mounts"].append({**each, "uidMappings": OWN, "gidMappings": OWN})
    assert container.shell("stat -c %u:%g /data/root /data/user").run().split() == ["20000:20000", "21000:21000"]
    assert (on_disk / "user").stat().st_uid == 1000


@pytest.mark.clause("config.mounts.option.idmap", "config.mounts.idmap.users-mappings")
def test_idmap_alone_takes_the_mappings_of_the_container(container: Container, on_disk: Path) -> None:
    container.config["mounts"].append(mount("/data", "bind", "bind", "idmap", source=str(on_disk)))
    in_user_namespace(container)
    script = "stat -c %u:%g /data/root /data/user; touch /data/made; stat -c %u /data/made"
    assert container.shell(script).run().split() == ["0:0", "1000:1000", "0"]
    assert (on_disk / "made").stat().st_uid == 0


@pytest.mark.clause("config.mounts.option.ridmap", "config.mounts.idmap.by-setattr")
@pytest.mark.parametrize(("option", "inner"), [("idmap", "0"), ("ridmap", "20000")])
def test_only_ridmap_maps_the_mounts_below(container: Container, on_disk: Path, option: str, inner: str) -> None:
    subprocess.run(["mount", "--bind", on_disk, on_disk / "inner"], check=True)
    try:
        each = mount("/data", "bind", "rbind", option, source=str(on_disk))
        container.config["mounts"].append({**each, "uidMappings": OWN, "gidMappings": OWN})
        said = container.shell("stat -c %u /data/root /data/inner/root").run()
    finally:
        subprocess.run(["umount", on_disk / "inner"], check=True)
    assert said.split() == ["20000", inner]


@pytest.mark.clause("config.values.invalid-errors")
def test_a_filesystem_that_cannot_map_owners_is_refused(container: Container) -> None:
    each = mount("/data", "bind", "bind", "idmap", source="/proc/tty")
    container.config["mounts"].append({**each, "uidMappings": OWN, "gidMappings": OWN})
    with pytest.raises(Failure, match="/proc/tty"):
        container.create()


@pytest.mark.clause("config.mounts.idmap.none-errors")
def test_idmap_without_any_mapping_is_refused(container: Container, on_disk: Path) -> None:
    container.config["mounts"].append(mount("/data", "bind", "bind", "idmap", source=str(on_disk)))
    with pytest.raises(Failure):
        container.create()
