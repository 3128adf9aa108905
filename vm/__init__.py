"""A Linux to be root in: a small virtual machine, and tests that run inside it.

Containers need a kernel with pure cgroup v2, overlayfs and bridges, and a root who may do everything. Few hosts are
that, and on those nobody wants a test suite to be root. So the suite brings its own host: a Debian guest under QEMU,
built once from packages, booted once, saved, and from then on restored in about a second.

::

    recipe ─▶ image ─▶ first boot ─▶ saved state ─▶ restore ─▶ a Machine: run, copy, cut its power
    packages   ext4      QEMU          RAM, disk     a second    tests in it are one pytest run

Read in this order:

======= =====================================================================================================
recipe  what is in the guest, and the key under which all that is made from it is kept
inits   how it comes up: a few lines of shell, or systemd
image   Debian packages become a file system image
kernel  the guest's kernel, and the few files that it starts from
host    what this computer can do: KVM or not, how slow, which programs
qemu    the command line of a machine, its process, and the socket that controls it
ssh     a connection into the guest
machine boot, save, restore; and the words of a test: succeed, fail, wait, copy, power_cut
share   the source, as a disk of the guest's
needs   what a test may need of a host, and whether this one has it
plugin  pytest's side here: ``--in-vm``
guest   pytest's side in the guest
box     the same guest for Vagrant
======= =====================================================================================================

``python -m vm --help`` has the commands.
"""
