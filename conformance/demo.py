"""The whole product in one command: ``make demo``.

A registry starts on loopback and gets an image made of Debian's busybox. Our daemon starts in a folder of its own,
pulls the image, runs it with every step explained, and everything is cleaned up again.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from conformance import images, leaks
from conformance.peers import docker_registry, minicontainerd

NAMESPACE = f"demo-{os.getpid()}"
SCRIPT = 'echo "hello from $(hostname), I am process $$ of a namespace of my own"; ls /'


def main() -> int:
    """Run the demo; answers the exit code."""
    with tempfile.TemporaryDirectory(prefix="minicontainerd-demo-") as scratch:
        folder = Path(scratch)
        say("a registry on loopback, filled with an image of Debian's busybox")
        with docker_registry(folder) as host:
            ref = f"{host}/app:1"
            source = f"oci:{images.busybox()}:busybox"
            show(["skopeo", "copy", "--quiet", "--dest-tls-verify=false", source, f"docker://{ref}"])
            say("our daemon")
            (folder / "daemon").mkdir()
            with minicontainerd(folder / "daemon") as daemon:
                daemon = daemon.within(NAMESPACE)
                client = daemon.by("minictr")
                show(client.command("images", "pull", "--plain-http", ref))
                show(client.command("images", "ls"))
                show(client.command("run", "--rm", "--explain", ref, "demo", "sh", "-c", SCRIPT))
                say("Debian's own ctr cannot tell whose daemon it talks to")
                show(daemon.command("run", "--rm", ref, "demo", "echo", "hello from ctr"))
                show(client.command("images", "rm", "--sync", ref))
    leaks.remove_empty_parents(NAMESPACE)
    say("done; nothing is left")
    return 0


def say(text: str) -> None:
    """A line of what happens next."""
    print(f"\n\033[1m# {text}\033[0m", flush=True)


def show(command: list[str]) -> None:
    """Print a command and run it.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    name = Path(command[0]).name
    print(f"\n\033[32m$ {shlex.join([name, *command[1:]])}\033[0m", flush=True)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
