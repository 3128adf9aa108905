"""What the container sees: its root, its mounts, its devices, and what it must not see."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Container, Failure


def options_of(container: Container, target: str) -> set[str]:
    """The options of the mount at *target*, as the program sees them."""
    for line in container.args("cat", "/proc/self/mountinfo").run().splitlines():
        fields = line.split()
        if fields[4] == target:
            return {*fields[5].split(","), *fields[6 : fields.index("-")]}
    raise AssertionError(f"nothing mounted at {target}")


@pytest.mark.clause("config.root.is-slash")
def test_the_rootfs_is_the_programs_root(container: Container) -> None:
    (container.rootfs / "mark").write_text("here")
    assert container.args("cat", "/mark").run() == "here"


@pytest.mark.clause("config.root.readonly")
def test_a_read_only_root_cannot_be_written(container: Container) -> None:
    container.config["root"]["readonly"] = True
    said = container.shell("touch /file 2>&1; touch /dev/file && echo dev is writable").run()
    assert "Read-only file system" in said
    assert "dev is writable" in said


@pytest.mark.clause("config.mounts.order", "config.mounts.bind")
def test_mounts_are_made_in_order(container: Container, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_text("bound")
    container.config["mounts"] += [
        {"destination": "/data", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/data/inner", "type": "bind", "source": str(tmp_path / "source"), "options": ["rbind"]},
    ]
    assert container.args("cat", "/data/inner/file").run() == "bound"


@pytest.mark.clause("config.mounts.options")
def test_a_bind_mount_can_be_read_only(container: Container, tmp_path: Path) -> None:
    options = ["rbind", "ro", "nosuid", "noexec"]
    container.config["mounts"].append({"destination": "/data", "source": str(tmp_path), "options": options})
    assert options_of(container, "/data") >= {"ro", "nosuid", "noexec"}


@pytest.mark.clause("config.mounts.bind")
def test_a_file_can_be_bound(container: Container, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 me\n")
    container.config["mounts"].append(
        {"destination": "/etc/hosts", "type": "bind", "source": str(tmp_path / "hosts"), "options": ["bind", "ro"]}
    )
    assert container.args("cat", "/etc/hosts").run() == "127.0.0.1 me\n"


@pytest.mark.clause("config.mounts.propagation")
@pytest.mark.parametrize(("option", "field"), [("rslave", "master:"), ("rprivate", ""), ("rshared", "shared:")])
def test_the_propagation_of_a_mount_is_as_asked(container: Container, option: str, field: str, shared: Path) -> None:
    container.config["mounts"].append(
        {"destination": "/data", "type": "bind", "source": str(shared), "options": ["rbind", option]}
    )
    container.linux["rootfsPropagation"] = "shared" if option == "rshared" else "rslave"
    found = {word for word in options_of(container, "/data") if ":" in word}
    assert any(word.startswith(field) for word in found) if field else not found


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A folder on a mount of type shared."""
    folder = tmp_path / "shared"
    folder.mkdir()
    subprocess.run(["mount", "--bind", "--make-shared", folder, folder], check=True)
    subprocess.run(["mount", "--make-shared", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.clause("config.mounts.recursive-attributes")
def test_rro_makes_inner_mounts_read_only_too(container: Container, tmp_path: Path) -> None:
    (tmp_path / "outer/inner").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "inner", tmp_path / "outer/inner"], check=True)
    try:
        container.config["mounts"].append(
            {"destination": "/data", "type": "bind", "source": str(tmp_path / "outer"), "options": ["rbind", "rro"]}
        )
        assert "ro" in options_of(container, "/data/inner")
    finally:
        subprocess.run(["umount", tmp_path / "outer/inner"], check=True)


@pytest.mark.clause("linux.devices.default")
def test_the_default_devices_are_there(container: Container) -> None:
    names = "null zero full random urandom tty"
    said = container.shell(f"cd /dev; stat -c '%n %F %a %t:%T' {names}").run()
    numbers = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    for line in said.splitlines():
        name, *_, mode, number = line.split()
        assert (mode, number) == ("666", numbers.pop(name))
    assert not numbers


@pytest.mark.clause("runtime.linux.dev-symlinks")
def test_the_links_in_dev_are_there(container: Container) -> None:
    said = container.shell("for n in fd stdin stdout stderr ptmx; do readlink /dev/$n; done").run().split()
    assert said[:4] == ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"]
    assert said[4] in ("pts/ptmx", "/dev/pts/ptmx")


@pytest.mark.clause("linux.devices.extra")
def test_a_device_of_the_config_is_made(container: Container) -> None:
    container.linux["devices"] = [
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6}
    ]
    assert container.shell("stat -c '%t:%T %a %u %g' /dev/mine").run() == "1:3 640 5 6\n"


@pytest.mark.clause("linux.masked-paths")
def test_masked_paths_read_as_empty(container: Container) -> None:
    (container.rootfs / "secret").mkdir()
    (container.rootfs / "secret/file").touch()
    (container.rootfs / "file").write_text("secret")
    container.linux["maskedPaths"] = ["/secret", "/file", "/not/there"]
    assert container.shell("ls /secret; cat /file; echo end").run() == "end\n"


@pytest.mark.clause("linux.readonly-paths")
def test_read_only_paths_cannot_be_written(container: Container) -> None:
    container.linux["readonlyPaths"] = ["/tmp", "/not/there"]
    assert "Read-only file system" in container.shell("touch /tmp/file 2>&1; true").run()


@pytest.mark.clause("cli.safety.symlinks-stay-inside")
def test_a_link_in_the_image_does_not_lead_a_mount_outside(container: Container, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (container.rootfs / "link").symlink_to(outside)
    container.config["mounts"].append({"destination": "/link/deep", "type": "tmpfs", "source": "tmpfs"})
    try:
        container.run()
    except Failure:
        pass
    assert list(outside.iterdir()) == []


@pytest.mark.clause("cli.safety.links-to-nothing", "cli.safety.symlinks-stay-inside")
@pytest.mark.parametrize("target", ["../run/made/deep/file", "/run/made/deep/file", "/../../../run/made/deep/file"])
def test_a_mount_point_that_is_a_link_to_nothing_is_made_where_it_leads(container: Container, target: str) -> None:
    """As /etc/resolv.conf often is: a link into a /run that is empty in the image."""
    for link in ("etc/file", "etc/folder"):
        (container.rootfs / link).symlink_to(target)
        target = target.replace("file", "folder")
    source = container.bundle / "source"
    source.write_text("text")
    for where, each in (("/etc/file", source), ("/etc/folder", container.bundle / "rootfs/root")):
        bind = {"destination": where, "type": "bind", "source": str(each), "options": ["bind"]}
        container.config["mounts"].append(bind)
    said = container.shell("cat /etc/file /run/made/deep/file; grep -o '/run/made/[^ ]*' /proc/self/mountinfo").run()
    assert said == "texttext/run/made/deep/file\n/run/made/deep/folder\n"
    assert (container.rootfs / "etc/file").is_symlink() and not Path("/run/made").exists()


@pytest.mark.clause("cli.safety.links-to-nothing")
def test_a_link_to_nothing_on_the_way_is_followed_too(container: Container) -> None:
    (container.rootfs / "var").symlink_to("missing/place")
    (container.rootfs / "other").symlink_to("var/deep")
    container.config["mounts"].append({"destination": "/other/er", "type": "tmpfs", "source": "tmpfs"})
    container.process["cwd"] = "/other/next"
    assert (
        container.shell("pwd; grep -o '/missing[^ ]*' /proc/self/mountinfo").run()
        == "/missing/place/deep/next\n/missing/place/deep/er\n"
    )


@pytest.mark.clause("cli.safety.proc-guarded")
@pytest.mark.parametrize("place", ["/proc/self", "/proc/sys/kernel"])
def test_nothing_can_be_put_inside_proc(container: Container, place: str, tmp_path: Path) -> None:
    container.config["mounts"].append(
        {"destination": place, "type": "bind", "source": str(tmp_path), "options": ["bind"]}
    )
    with pytest.raises(Failure, match="proc"):
        container.create()


@pytest.mark.clause("cli.safety.proc-not-a-link")
def test_proc_is_not_mounted_through_a_link(container: Container) -> None:
    (container.rootfs / "proc").rmdir()
    (container.rootfs / "proc").symlink_to("/tmp")
    with pytest.raises(Failure):
        container.create()


@pytest.mark.clause("cli.safety.host-untouched")
def test_the_hosts_mounts_are_the_same_before_and_during(container: Container) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    container.args("sleep", "1000").create().start()
    during = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(container.bundle) in line]
    assert not during
    assert before


@pytest.mark.clause("linux.devices.default")
def test_standard_streams_on_null_are_the_containers_null(container: Container) -> None:
    container.shell("stat -L -c '%t:%T' /proc/self/fd/0")
    assert container.run() == "1:3\n"
