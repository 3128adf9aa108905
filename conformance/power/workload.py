"""What goes on while the power is cut, inside the guest: pulls, commits of snapshots, containers, and collections.

A container is made of an image, started, waited for, and every other one is removed again. One that an earlier power
cut left behind is started once more: its record and its root filesystem must be good for that. So images are pulled
with ``--sync-fs``; without it, as in containerd, their files may be empty after a cut.

Each act is announced by a line before it, ``begin <thing>``, and acknowledged by one after it, ``is <thing>`` or
``gone <thing>``, on standard output, which is outside: these lines survive. What they promise: ``promises.py``.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import sys
import time
from pathlib import Path

from minicontainerd.client import Client, container
from minicontainerd.client.image import Image
from minicontainerd.client.process import Running
from minicontainerd.client.pull import pull
from minicontainerd.errors import AlreadyExists, NotFound
from minicontainerd.oci import spec as specs
from minicontainerd.pull.registry import Options

SCRIPT = "echo was here > /left; exit 7"
"""What each container does, and the exit code that tells that it did."""


def say(word: str, thing: str) -> None:
    """A line that the other side has read before the next act begins, or as good as."""
    print(word, thing, flush=True)


def work(client: Client, registry: str, images: int, seed: int) -> None:
    """Without end: an image comes, an older one goes with all that it kept; a snapshot and a container in between."""
    choose = random.Random(seed)
    for left in client.containers.list()[-1:]:
        _run(client, left.id)
        say("is", f"container {left.id}")
    for number in itertools.count():
        name = f"{registry}/image:{choose.randrange(images)}"
        say("begin", f"image {name}")
        pull(client, name, options=Options(plain_http=True), sync=True)
        say("is", f"image {name}")
        _snapshot(client, f"{seed}-{number}")
        _container(client, name, f"c{seed}-{number}", keep=number % 2 == 0)
        old = f"{registry}/image:{choose.randrange(images)}"
        say("begin", f"image {old}")
        with contextlib.suppress(NotFound):
            client.images.delete(old, sync=True)
        say("gone", f"image {old}")


def _snapshot(client: Client, name: str) -> None:
    snapshots = client.snapshots("native")
    say("begin", f"snapshot {name}")
    with contextlib.suppress(AlreadyExists):
        mounts = snapshots.prepare(f"new-{name}", "", {"containerd.io/gc.root": "now"})
        Path(mounts[0].source, "file").write_text(name)
        snapshots.commit(name, f"new-{name}", {"containerd.io/gc.root": "now"})
    say("is", f"snapshot {name}")


def _container(client: Client, image: str, id: str, *, keep: bool) -> None:
    """A container of *image*, from its making to the end of its process; removed again unless it is to be kept."""
    parts = (f"snapshot {id}", f"container {id}")
    for part in parts:
        say("begin", part)
    found = Image(client, client.images.get(image))
    spec = specs.default(client.namespace, id)
    specs.apply_command(spec, ["/bin/busybox", "sh", "-c", SCRIPT])
    with client.leased():
        client.snapshots().prepare(id, found.chain_id())
        client.containers.create(container.record(id, spec, image=image, snapshotter="overlayfs"))
    for part in parts:
        say("is", part)
    _run(client, id)
    if keep:
        say("is", parts[1])  # its record is not touched by its life
        return
    for part in parts:
        say("begin", part)
    container.delete(client, id)
    for part in parts:
        say("gone", part)


def _run(client: Client, id: str) -> None:
    """One life of the container *id*; its task is gone afterwards."""
    client.tasks.create(container.task_request(client, client.containers.get(id), None))
    running = Running(client, id)
    running.start()
    if (code := running.wait()) != 7:
        raise RuntimeError(f"container {id} ended with {code}")
    client.tasks.delete(id)


def wait_for(address: str) -> None:
    """Until the daemon has a socket; it was started a moment ago."""
    for _ in range(1200):
        if Path(address).exists():
            return
        time.sleep(0.1)


if __name__ == "__main__":
    _, address, registry, images, seed = sys.argv
    wait_for(address)
    with Client(address, namespace="power") as client:
        work(client, registry, int(images), int(seed))
