"""The guest as a box for Vagrant: the same disk, kernel and key, in the form that vagrant-libvirt takes.

::

    metadata.json   for which provider, and how large the disk is
    Vagrantfile     how to log in, and to boot the kernel itself: no boot loader is on the disk
    box.img         the root, as qcow2
    vmlinuz initrd key

A box is a tar of these. The Vagrantfile at the top of the repository takes one by its path, in ``BOX``; Vagrant
unpacks it to a folder of its own, and reads its Vagrantfile there before the repository's.
Source: vagrant-libvirt 0.11 docs/boxes.markdown, and its options ``kernel``, ``initrd`` and ``cmd_line``.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

from vm import image
from vm.kernel import COMMAND_LINE
from vm.recipe import Recipe, cache

VAGRANTFILE = f"""folder = File.dirname(__FILE__)
Vagrant.configure("2") do |config|
  config.ssh.username = "root"
  config.ssh.private_key_path = File.join(folder, "key")
  config.ssh.insert_key = false
  config.vm.provider :libvirt do |libvirt|
    libvirt.kernel = File.join(folder, "vmlinuz")
    libvirt.initrd = File.join(folder, "initrd")
    libvirt.cmd_line = "{COMMAND_LINE} guest.dhcp"
    libvirt.disk_bus = "virtio"
  end
end
"""


def path(recipe: Recipe) -> Path:
    """Where the box of *recipe* is, or will be."""
    return cache() / f"box-{recipe.image_key}.box"


def make(recipe: Recipe, tell: image.Tell = print) -> Path:
    """The box of *recipe*, made where it is not there yet; answers its path.

    Raises:
        BuildFailed: the image could not be built.
        CalledProcessError: ``qemu-img`` failed.
    """
    folder = image.build(recipe, tell)
    target = path(recipe)
    if not target.exists():
        tell("vm: the box ...")
        with tempfile.TemporaryDirectory(dir=cache(), prefix="box-") as scratch:
            disk, part = Path(scratch, "box.img"), Path(scratch, "part.box")
            subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(folder / "root.ext4"), str(disk)], check=True)
            _pack(part, recipe, {"box.img": disk, **{name: folder / name for name in ("vmlinuz", "initrd", "key")}})
            part.rename(target)
    return target


def _pack(path: Path, recipe: Recipe, files: dict[str, Path]) -> None:
    about = {"provider": "libvirt", "format": "qcow2", "virtual_size": recipe.disk_gib}
    with tarfile.open(path, "w") as archive:
        for name, text in (("metadata.json", json.dumps(about)), ("Vagrantfile", VAGRANTFILE)):
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
        for name, file in files.items():
            archive.add(file, name)
