"""``python -m vm``: the machine from a terminal. Each command is one sentence of ``machine`` or ``image``."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import subprocess
import sys
import termios
import time
import tty
from typing import Any

import click
import paramiko

from vm import box as boxes
from vm import host, image
from vm.machine import CommandFailed, Hang, HostDiskFull, Machine, Panic, QemuFailed, saved_names
from vm.recipe import ROOT, VARIANTS, Recipe, cache

ERRORS = (CommandFailed, Hang, HostDiskFull, Panic, QemuFailed, host.NotHere, image.BuildFailed)


VARIANT = click.option("--variant", type=click.Choice(list(VARIANTS)), default="minimal", help="Which kind of guest.")


def tell(text: str) -> None:
    """A line of progress; standard output is the command's own."""
    click.echo(text, err=True)


@click.group()
def main() -> None:
    """A Linux to be root in: a guest under QEMU, saved once and restored in about a second."""


@main.command()
@VARIANT
@click.option("--fresh", is_flag=True, help="Ask the mirror for today's packages.")
def build(variant: str, fresh: bool) -> None:
    """Make the image, unless it is there."""
    host.expect_programs()
    click.echo(image.build(Recipe(variant), tell, fresh=fresh))


@main.command()
@VARIANT
def save(variant: str) -> None:
    """Boot the image once and save it, unless that was done."""
    with Machine.restored(recipe=Recipe(variant), tell=tell) as machine:
        machine.succeed("true")


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@VARIANT
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(variant: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in a fresh guest, with the working tree in /src; its exit code is ours."""
    with Machine.restored(recipe=Recipe(variant), source=True, tell=tell) as machine:
        words = command[0] if len(command) == 1 else shlex.join(command)
        done = machine.run(f". /root/.profile; {words}", line=click.echo, seconds=600)
        click.echo(done.err, err=True, nl=False)
    sys.exit(done.code)


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> None:
    """Run pytest with ARGUMENTS in a guest; without any, the runtime's conformance suite on runc."""
    command = [sys.executable, "-m", "pytest", "--in-vm", *(arguments or ("conformance/runtime",))]
    sys.exit(subprocess.run(command, cwd=ROOT if not arguments else None).returncode)


@main.command()
def box() -> None:
    """Make the guest a box for Vagrant; prints its path. See the Vagrantfile."""
    host.expect_programs()
    click.echo(boxes.make(Recipe(), tell))


@main.command()
@VARIANT
def shell(variant: str) -> None:
    """A terminal in a fresh guest, with the working tree in /src. Everything is gone afterwards."""
    with Machine.restored(recipe=Recipe(variant), source=True, tell=tell) as machine:
        size = shutil.get_terminal_size()
        channel = machine.ssh.terminal(os.environ.get("TERM", "vt100"), size.columns, size.lines)
        _pass_on(channel)


@main.command()
def console() -> None:
    """What the last guest wrote to its console."""
    kept = cache() / "last-console.log"
    if not kept.exists():
        raise click.ClickException("no guest has run yet")
    click.echo(kept.read_text(errors="replace"), nl=False)


@main.command()
def status() -> None:
    """What is built and saved, and how a guest would run here."""
    for recipe in map(Recipe, VARIANTS):
        built = recipe.folder.exists()
        click.echo(f"{recipe.variant:8} {recipe.folder} ({'built' if built else 'not built'})")
    recipe = Recipe()
    built = recipe.folder.exists()
    reason = host.kvm_reason()
    click.echo(
        f"runs by  {host.accelerator(recipe.folder)[1] if built else reason or 'KVM, if a trial shows that it works'}"
    )
    for path in sorted(cache().iterdir()):
        size = subprocess.run(["du", "-sm", str(path)], capture_output=True, text=True).stdout.split()[:1]
        age = (time.time() - path.stat().st_mtime) / 86400
        click.echo(f"{path.name:60} {''.join(size):>6} MiB, {age:.1f} days old")


@main.command()
@click.option("--all", "everything", is_flag=True, help="The images of these recipes and their saved machines too.")
def clean(everything: bool) -> None:
    """Remove what other recipes, and earlier versions of this one, left in the cache."""
    kept = {"lock"}
    for recipe in map(Recipe, VARIANTS):
        kept |= {image.packages_tar(recipe).name, recipe.folder.name, boxes.path(recipe).name, *saved_names(recipe)}
    for path in sorted(cache().iterdir()):
        old = path.name.startswith(("box-", "image-", "packages-", "saved-", "wheels-")) and path.stem not in kept
        if everything or (old and path.name not in kept):
            tell(f"removing {path}")
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _pass_on(channel: paramiko.Channel) -> None:
    """Between this terminal, in raw mode, and the guest's, until that ends."""
    before = termios.tcgetattr(sys.stdin)
    sources: list[Any] = [channel, sys.stdin]
    try:
        tty.setraw(sys.stdin)
        while True:
            ready, _, _ = select.select(sources, [], [])
            if channel in ready:
                said = channel.recv(4096)
                if not said:
                    return
                os.write(sys.stdout.fileno(), said)
            if sys.stdin in ready:
                typed = os.read(sys.stdin.fileno(), 4096)
                channel.sendall(typed or b"\x04")  # the end of our input is Ctrl-D to the shell
                if not typed:
                    sources.remove(sys.stdin)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


if __name__ == "__main__":
    try:
        main()
    except ERRORS as error:
        sys.exit(f"vm: {error}")
    except BrokenPipeError:
        sys.exit(1)
