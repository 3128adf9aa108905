"""Debian packages become a disk: no loop device, no mount, and no root where user namespaces allow.

Each stage leaves one file, written under another name and renamed when it is whole. So a build that is interrupted
goes on with the stage it was at, and two builds at a time do no harm::

    packages.tar   mmdebstrap: the packages, with the kernel's unpacked (installing it would make an initrd for a PC)
    wheels/        pip: what the project needs, for the guest's Python, which need not be this one
    root.ext4      both, and the files of the recipe, by mke2fs -d: a sparse file
    vmlinuz initrd what QEMU starts, see kernel.py
    key host_key   how the guest knows us, and we the guest

A base image is never written again: saved machines are differences to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko

from vm import kernel
from vm.recipe import KERNEL, PYTHON, SUITE, Recipe, cache

PLATFORMS = ["manylinux2014", "manylinux1", *(f"manylinux_2_{minor}" for minor in (5, 12, 17, 24, 26, 27, 28, 34))]
SITE = f"opt/venv/lib/python{PYTHON}/site-packages"
EPOCH = "1700000000"

FETCH_KERNEL = f"""set -e
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
name=$(apt-cache depends {KERNEL} | sed -n 's/^ *Depends: //p' | head -n 1)
cd "$1/boot" && apt-get download -qq "$name"
dpkg-deb --fsys-tarfile ./"$name"_*.deb | tar -x --keep-directory-symlink -C "$1"  # /lib is one
rm ./"$name"_*.deb
rm -rf "$1"/usr/src/linux-headers-* "$1"/var/lib/dkms  # what a module was built with
chroot "$1" depmod "${{name#linux-image-}}"
"""

ASSEMBLE = f"""set -e
mkdir root && tar -xf packages.tar -C root --exclude='./dev/*' && tar -xf added.tar -C root
ln -sf /usr/bin/python3 root/opt/venv/bin/python
chroot root python3 -m compileall -q /{SITE}
chroot root dropbearkey -t ed25519 -f /etc/dropbear/host_key | grep ^ssh-ed25519 > host_key
cp root/boot/vmlinuz-* vmlinuz && cp -r root/lib/modules modules && cp root/bin/busybox busybox
chroot root dpkg-query -W > packages.txt
rm -rf root/usr/share/doc root/usr/share/man root/usr/share/locale root/boot/*
mke2fs -q -t ext4 -L guest -d root root.ext4 "$1"
rm -rf root
"""
"""Run in a scratch folder, as root or as root of a user namespace; ``$1`` is the size of the disk."""

Tell = Callable[[str], None]


class BuildFailed(Exception):
    """A stage of the build; the message has its output and what to do."""


def build(recipe: Recipe, tell: Tell = print, *, fresh: bool = False) -> Path:
    """Make the image of *recipe* if it is not there, telling each stage; answers its folder.

    *fresh* asks for the packages of today.

    Raises:
        BuildFailed: a stage did not work.
    """
    with _alone():
        if fresh:
            shutil.rmtree(recipe.folder, ignore_errors=True)
            packages_tar(recipe).unlink(missing_ok=True)
        if not recipe.folder.exists():
            packages = _packages(recipe, tell)
            wheels = _wheels(recipe, tell)
            _assemble(recipe, packages, wheels, tell)
    return recipe.folder


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One build at a time for a cache; the next finds what this one made."""
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _stage(tell: Tell, title: str) -> Iterator[None]:
    started = time.monotonic()
    tell(f"vm: {title} ...")
    yield
    tell(f"vm: {title}: {time.monotonic() - started:.1f} s")


def _run(command: list[str], advice: str, folder: Path, **environment: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode:
        said = (done.stdout + done.stderr)[-3000:]
        raise BuildFailed(f"{command[0]} ended with {done.returncode}\n{said}\n{advice}")


def packages_tar(recipe: Recipe) -> Path:
    """Where the unpacked packages of *recipe* are kept, for other recipes of the same packages too."""
    asked = "\n".join([SUITE, FETCH_KERNEL, recipe.components, *recipe.packages])
    return cache() / f"packages-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.tar"


def _packages(recipe: Recipe, tell: Tell) -> Path:
    target = packages_tar(recipe)
    if target.exists():
        return target
    _expect_programs("mmdebstrap", "mke2fs")
    command = ["mmdebstrap", "--variant=minbase", "--format=tar", "--quiet", f"--include={','.join(recipe.packages)}"]
    command += [f"--components={recipe.components}", f"--customize-hook={FETCH_KERNEL}", SUITE, f"{target}.part"]
    with _stage(tell, f"{len(recipe.packages)} Debian packages and a kernel"):
        advice = "Is there a Debian mirror? As an ordinary user, uidmap must be installed and /etc/subuid name you."
        _run(command, advice, cache(), SOURCE_DATE_EPOCH=EPOCH)
        os.rename(f"{target}.part", target)
    return target


def _wheels(recipe: Recipe, tell: Tell) -> Path:
    """The wheels, unpacked; kept by the image's key, for that covers the requirements."""
    target = cache() / f"wheels-{recipe.image_key}"
    if target.exists():
        return target
    part = cache() / f"wheels-{recipe.image_key}.part"
    shutil.rmtree(part, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(part)]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON]
    command += [word for name in PLATFORMS for word in ("--platform", f"{name}_x86_64")]
    with _stage(tell, f"wheels for Python {PYTHON}"):
        _run([*command, *recipe.wheels], "Is there a package index?", cache())
        part.rename(target)
    return target


def _assemble(recipe: Recipe, packages: Path, wheels: Path, tell: Tell) -> None:
    scratch = cache() / f"{recipe.folder.name}.part"
    _remove(scratch)
    scratch.mkdir()
    with _stage(tell, "the disk"):
        (scratch / "packages.tar").symlink_to(packages)
        _write_added(scratch / "added.tar", recipe, wheels, _make_key(scratch / "key"))
        command = ["sh", "-c", ASSEMBLE, "assemble", f"{recipe.disk_gib}G"]
        if os.geteuid() != 0:  # every id of ours in /etc/subuid, and our own as root: the result belongs to us
            command = ["unshare", "--map-auto", "--map-root-user", *command]
        _run(command, "See the stage's output above.", scratch, PATH=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        version = next(iter(sorted((scratch / "modules").iterdir()))).name
        (scratch / "initrd").write_bytes(kernel.initrd(scratch / "modules" / version, scratch / "busybox"))
        shutil.rmtree(scratch / "modules")
        for name in ("added.tar", "packages.tar", "busybox"):
            (scratch / name).unlink()
        scratch.rename(recipe.folder)
    shutil.rmtree(wheels)


def _remove(folder: Path) -> None:
    """Remove what an interrupted build left; as an ordinary user its files may belong to ids of a namespace."""
    if folder.exists() and os.geteuid() != 0:
        subprocess.run(["unshare", "--map-auto", "--map-root-user", "rm", "-rf", str(folder)], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def _make_key(path: Path) -> str:
    """A key of this image alone, of a kind that Vagrant reads too; answers the line for ``authorized_keys``."""
    key = paramiko.RSAKey.generate(3072)
    key.write_private_key_file(str(path))
    return f"{key.get_name()} {key.get_base64()}\n"


def _write_added(path: Path, recipe: Recipe, wheels: Path, authorized: str) -> None:
    """What is put on top of the packages."""
    plain = {**recipe.files, "root/.ssh/authorized_keys": authorized}
    with tarfile.open(path, "w") as archive:
        for name in ("etc/dropbear", "root/.ssh", "src", "opt/venv/bin"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o700 if name == "root/.ssh" else 0o755
            archive.addfile(info)
        for files, mode in ((plain, 0o644), (recipe.executables, 0o755)):
            for name, text in files.items():
                info = tarfile.TarInfo(name)
                info.mode, info.size = mode, len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
        archive.add(wheels, SITE, filter=_as_root)


def _as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def _expect_programs(*names: str) -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in names if shutil.which(name, path=path) is None]
    if missing:
        raise BuildFailed(f"not installed: {', '.join(missing)} (apt-get install mmdebstrap e2fsprogs)")
