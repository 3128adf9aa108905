"""Record one real run, for the page *The way of one command*: ``python docs/make_story.py [FOLDER]``, as root.

A registry on loopback gets an image; our daemon starts in a folder of its own; ``minictr`` pulls the image and runs a
container that waits for a line of input. While it waits, what is on disk and in ``/proc`` is written down. Each
recording is a text file in docs/story/, checked in, so that the book can be built anywhere.

Between ``minictr`` and the daemon stands a relay (:class:`Relay`) that notes the calls of the API. What differs from
run to run (folders, ports, process ids, times) is replaced by stable values, so that a new recording differs from the
old one only where the program does. tests/docs/test_story.py records again and compares.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message

from conformance import leaks
from conformance.images import busybox
from conformance.peers import Ctr, docker_registry, minicontainerd
from minicontainerd.api import rpc

STORY = Path(__file__).parent / "story"
SCRIPT = 'read line; echo "process $$ heard: $line"'

DIGEST = (r"([0-9a-f]{12})[0-9a-f]{52}", r"\1…")
"""A digest is known by its beginning."""

ANYWHERE = [
    DIGEST,
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC ", ""),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "2026-01-01T00:00:00Z"),
    (r"  \d+ µs$", ""),
    (r"done: \d\S+", "done: 500ms"),
    (r"/tmp/minicontainerd-explain-\w+", "/tmp/explain"),
    (r"/fifo/\w+/", "/fifo/1/"),
    (r"extract-\d+-[\w-]{4}", "extract-1"),
    (r"id=\d{19}-[\w-]{4}", "id=1"),
    (r"/sys/fs/cgroup/unified", "/sys/fs/cgroup"),  # where version 2 is mounted beside version 1
    (r"=\d+ -> ", "=fd -> "),
    (r"/proc/self/fd/\d+(?=' -> )", "/proc/self/fd/…"),
    (r" = [1-9]\d*(?=  \w)", " = …"),  # descriptors and process ids
    (r"/run/minicontainerd/io.containerd.runtime.v2.task/default/web(?=/rootfs)", "…/web"),
]
"""What differs from run to run, and what it is replaced by."""

WITH_PIDS = {"events", "processes", "view"}
"""Where a number that is a process id is one; elsewhere it may as well be a size."""


class Relay(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Hands every call on to the daemon, bytes as they are, and remembers method and first request."""

    def __init__(self, daemon: Path) -> None:
        self.channel = grpc.insecure_channel(f"unix:{daemon}", options=rpc.CHANNEL_OPTIONS)
        self.calls: list[str] = []

    def service(self, details: Any) -> Any:
        """The handler of one call: a stream in and a stream out fits every kind of method."""

        def hand_on(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            ask = self.channel.stream_stream(details.method)
            metadata = [pair for pair in details.invocation_metadata if pair[0].startswith("containerd-")]
            try:
                yield from ask(self._noted(details.method, requests), metadata=metadata)
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())

        return grpc.stream_stream_rpc_method_handler(hand_on)

    def _noted(self, method: str, requests: Iterator[bytes]) -> Iterator[bytes]:
        place = len(self.calls)
        self.calls.append("")
        for number, request in enumerate(requests):
            if number == 0:
                self.calls[place] = described(method, request)
            yield request

    @contextlib.contextmanager
    def listening(self, address: Path) -> Iterator[Relay]:
        """Serve on the socket *address* during the block."""
        server = grpc.server(futures.ThreadPoolExecutor(32), options=rpc.CHANNEL_OPTIONS)
        server.add_generic_rpc_handlers((self,))
        server.add_insecure_port(f"unix:{address}")
        server.start()
        try:
            yield self
        finally:
            server.stop(1).wait()

    def take(self) -> str:
        """The calls since the last time, one a line, repeated ones counted."""
        counts: dict[str, int] = {}
        for call in [call for call in self.calls if call]:
            counts[call] = counts.get(call, 0) + 1
        self.calls.clear()
        return "".join(f"{call}  ×{count}\n" if count > 1 else f"{call}\n" for call, count in counts.items())


def described(method: str, request: bytes) -> str:
    """``Images.Create image.name=…``: the method, and of the plain fields of the request what fits in a line."""
    service, name = method.rsplit("/", 1)
    for each in rpc.services():
        if f"/{each.full_name}" == service and name in each.methods_by_name:
            kind = message_factory.GetMessageClass(each.methods_by_name[name].input_type)
            fields = (f"{path}={re.sub(*DIGEST, value)}" for path, value in leaves(kind.FromString(request), ""))
            return fitting(f"{each.name}.{name}".ljust(22), fields)
    return method.strip("/")


def fitting(line: str, fields: Iterable[str], width: int = 125) -> str:
    """*line* and as many of its *fields*, in their order, as fit beside it."""
    for field in fields:
        if len(line) + len(field) < width:
            line += f"  {field}"
    return line.rstrip()


def leaves(message: Message, prefix: str) -> Iterator[tuple[str, str]]:
    """Strings, numbers and enums of a message and of those in it, with their dotted names."""
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield from ((f"{prefix}{field.name}[{key}]", str(value[key])) for key in sorted(value))
        elif field.type == field.TYPE_MESSAGE:
            for each in value if field.is_repeated else [value]:
                yield from leaves(each, f"{prefix}{field.name}.")
        elif field.enum_type is not None and not field.is_repeated:
            yield prefix + field.name, field.enum_type.values_by_number[value].name
        elif field.type != field.TYPE_BYTES and field.name != "media_type":
            yield prefix + field.name, ",".join(value) if field.is_repeated else str(value)


class Recorder:
    """Writes recordings, with what belongs to this machine replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.replaced: list[tuple[str, str]] = []
        self.pids: list[tuple[str, str]] = []
        folder.mkdir(exist_ok=True)

    def write(self, name: str, text: str) -> None:
        """Write the recording *name*."""
        pids = self.pids if name in WITH_PIDS or name.startswith("explain") else []
        for pattern, replacement in [*self.replaced, *pids, *ANYWHERE]:
            text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
        lines = (line.rstrip().expandtabs() for line in text.splitlines())
        (self.folder / f"{name}.txt").write_text("\n".join(lines).strip("\n") + "\n")

    def hide_pid(self, pid: int, name: str) -> None:
        """From now on, *name* stands for this process id."""
        self.pids.append((rf"\b{pid}\b", name))


def main(folder: Path) -> None:
    """Record everything into *folder*."""
    forget_namespace()
    with tempfile.TemporaryDirectory(prefix="story-") as scratch_:
        scratch = Path(scratch_)
        (scratch / "daemon").mkdir()
        with docker_registry(scratch) as host, minicontainerd(scratch / "daemon") as daemon:
            ref = f"{host}/app:1"
            copy = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false"]
            subprocess.run([*copy, f"oci:{busybox()}:busybox", f"docker://{ref}"], check=True)
            recorder = Recorder(folder)
            recorder.replaced += [
                (re.escape(f"{scratch}/daemon/root"), "/var/lib/minicontainerd"),
                (re.escape(f"{scratch}/daemon/state"), "/run/minicontainerd"),
                (re.escape(f"{scratch}/daemon/socket"), "/run/minicontainerd/minicontainerd.sock"),
                (re.escape(host), "127.0.0.1:5000"),
            ]
            with Relay(daemon.address).listening(scratch / "relay") as relay:
                record(recorder, relay, daemon, Ctr(scratch / "relay").by("minictr"), scratch / "daemon", ref)
    forget_namespace()


def forget_namespace() -> None:
    """Begin and end as on a host that never had a container; others in the default namespace are left alone."""
    with contextlib.suppress(OSError):
        leaks.remove_empty_parents("default")


def record(recorder: Recorder, relay: Relay, daemon: Ctr, client: Ctr, home: Path, ref: str) -> None:
    """The two commands, and what there is to see between them."""
    direct = Ctr(daemon.address).by("minictr")
    heard: list[str] = []
    listener = subprocess.Popen(direct.command("events"), stdout=subprocess.PIPE, text=True)
    assert listener.stdout is not None
    output = listener.stdout
    reader = threading.Thread(target=lambda: heard.extend(output))
    reader.start()
    try:
        time.sleep(1)  # for the subscription, of which nothing tells
        pulled = client("images", "pull", "--plain-http", ref)
        recorder.write("pull", f"$ minictr images pull --plain-http {ref}\n{final(pulled)}")
        recorder.write("pull-calls", relay.take())
        recorder.write("blobs", listing(home / "root/content"))
        recorder.write("manifest", manifest(home / "root/content/blobs/sha256"))
        recorder.write("rows-image", rows(home / "root/metadata.db", ("images", "blobs", "content", "leases")))
        recorder.write("snapshots", table(direct("snapshots", "ls")))
        record_run(recorder, relay, client, direct, home, ref)
        recorder.write(
            "left",
            table(direct("snapshots", "ls")) + "\n\n" + rows(home / "root/metadata.db", ("containers", "leases")),
        )
    finally:
        time.sleep(0.5)  # for the last events
        listener.terminate()
        listener.wait()
        reader.join()
    recorder.write("events", "".join(heard))


def record_run(recorder: Recorder, relay: Relay, client: Ctr, direct: Ctr, home: Path, ref: str) -> None:
    """``minictr run``, looked at while the container waits for its input."""
    command = client.command("run", "--rm", "--explain", ref, "web", "sh", "-c", SCRIPT)
    pipe = subprocess.PIPE
    running = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    until(lambda: "RUNNING" in direct("tasks", "ls"))
    pid = int(direct("tasks", "ls").split("web")[1].split()[0])
    shim = parent(pid)
    zygote = parent(shim)
    daemon = parent(zygote)
    before = {"processes": processes(pid, shim), "rows-container": rows(home / "root/metadata.db", ("containers",))}
    bundle = next((home / "state").rglob("web"))
    before["bundle"] = listing(bundle)
    before["spec"] = spec(bundle / "config.json")
    before["snapshots-running"] = table(direct("snapshots", "ls"))
    before["rootfs"] = rootfs(bundle / "rootfs")
    before["view"] = view(pid)
    out, err = running.communicate("hello\n", timeout=60)
    recorder.hide_pid(pid, "INIT")
    recorder.hide_pid(shim, "SHIM")
    recorder.hide_pid(zygote, "ZYGOTE")
    recorder.hide_pid(daemon, "DAEMON")
    recorder.hide_pid(running.pid, "MINICTR")
    for name, text in before.items():
        recorder.write(name, text)
    recorder.write("run", f"$ minictr run --rm --explain {ref} web sh -c '{SCRIPT}'\nhello\n{out}")
    told = err.splitlines()
    start = next((number for number, line in enumerate(told) if "runtime.md#start]" in line), len(told))
    recorder.write("explain-create", "\n".join(told[:start]))
    recorder.write("explain-start", "\n".join(told[start:]))
    recorder.write("run-calls", relay.take())


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("the container does not run")
        time.sleep(0.1)


def final(progress: str) -> str:
    """Of the progress of a pull, the last state of each line; which states are seen in between is chance."""
    states = {}
    for line in progress.splitlines():
        name, _, state = line.rpartition(": ")
        if name:
            states[re.sub(*DIGEST, name)] = state
    width = max(map(len, states)) + 1
    return "\n".join(f"{name + ':':{width}} {state}" for name, state in states.items() if name != "done")


def table(text: str) -> str:
    """A table of ``minictr`` again, in columns as wide as shortened digests need."""
    lines = text.splitlines()
    starts = [match.start() for match in re.finditer(r"\S+", lines[0])] + [10_000]
    cells = [[re.sub(*DIGEST, line[a:b].strip()) for a, b in itertools.pairwise(starts)] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in cells)


def listing(folder: Path) -> str:
    """Every file below *folder*: mode, size, name."""
    lines = []
    for path in [folder, *sorted(folder.rglob("*"))]:
        if "rootfs" in path.relative_to(folder).parts[:-1]:
            continue  # a whole filesystem
        found = path.lstat()
        name = f"{path}/" if path.is_dir() and not path.is_symlink() else str(path)
        target = f" -> {os.readlink(path)}" if path.is_symlink() else ""
        size = "" if path.is_dir() else str(found.st_size)
        lines.append(f"{found.st_mode & 0o7777:04o} {size:>8} {name}{target}")
    return "\n".join(lines)


def manifest(blobs: Path) -> str:
    """The manifest: the blob that is JSON and has layers."""
    for path in sorted(blobs.iterdir()):
        if path.stat().st_size < 4096 and '"layers"' in (text := path.read_text()):
            return json.dumps(json.loads(text), indent=2)
    raise LookupError("no manifest")


def rows(database: Path, tables: tuple[str, ...]) -> str:
    """What is in the tables, a line for each value that is there. Times and long values are left out."""
    parts = []
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        present = {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in tables:
            if table not in present:
                continue
            found = connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
            parts.append(f"{table}: {len(found)} row{'s' if len(found) != 1 else ''}")
            parts += [_shown(dict(row)) for row in found]
    return "\n".join(parts)


def _shown(row: dict[str, Any]) -> str:
    lines = []
    for key, value in row.items():
        if value in (None, "", "{}") or key.endswith("_at"):
            continue
        if isinstance(value, str) and value.startswith("{"):
            pairs = [f"{name} = {each}" for name, each in json.loads(value).items() if isinstance(each, str)]
        else:
            pairs = [f"{len(value)} bytes of protobuf" if isinstance(value, bytes) else str(value)]
        lines += [f"    {key if number == 0 else '':<14} {pair}" for number, pair in enumerate(pairs)]
    return "\n".join(lines) + "\n"


def spec(path: Path) -> str:
    """The container's config.json, shortened to what its process is and may."""
    config = json.loads(path.read_text())
    process = config["process"]
    process["capabilities"] = {"bounding": [*process["capabilities"]["bounding"][:3], "…"]}
    short = {
        "ociVersion": config["ociVersion"],
        "process": {
            key: process[key] for key in ("args", "cwd", "user", "capabilities", "noNewPrivileges") if key in process
        },
        "root": config["root"],
        "mounts": [mount["destination"] for mount in config["mounts"]],
        "linux": {"namespaces": [each["type"] for each in config["linux"]["namespaces"]]},
    }
    return json.dumps(short, indent=2, ensure_ascii=False)


def rootfs(path: Path) -> str:
    """How the bundle's rootfs is mounted, where that is to be seen from outside, and what is in it."""
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {path} " in line]
    return "\n".join(mounts).replace(",", ",\n    ") + "\n"


def view(pid: int) -> str:
    """What the process has for itself: its mounts, its cgroup, its rights."""
    proc = Path(f"/proc/{pid}")
    parts = ["mounts:"]
    for line in (proc / "mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        parts.append(f"    {left.split()[4]:<24} {right.split()[0]:<10} {left.split()[5]}")
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
    parts.append("status:")
    parts += [f"    {key:<24} {status[key].strip()}" for key in ("NSpid", "CapBnd", "NoNewPrivs", "Seccomp")]
    return "\n".join(parts)


def parent(pid: int) -> int:
    """The parent's process id."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def processes(pid: int, shim: int) -> str:
    """The container's first process, the shim above it, and the zygote that forked the shim."""
    lines = []
    for each in (parent(shim), shim, pid):
        above = parent(each)
        words = re.split("[\0 ]", Path(f"/proc/{each}/cmdline").read_text())
        shown = " ".join(Path(word).name if word.startswith("/") else word for word in words)
        lines.append(f"pid {each}, parent {above}: {shown}")
    return "\n".join(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else STORY)
