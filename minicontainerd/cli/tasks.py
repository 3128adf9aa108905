"""``minictr tasks``."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import click
from google.protobuf.json_format import MessageToDict

from minicontainerd.api import any as typeurl
from minicontainerd.api.cgroups.v1 import metrics_pb2 as v1
from minicontainerd.api.cgroups.v2 import metrics_pb2 as v2
from minicontainerd.api.services.tasks.v1.tasks_pb2 import ExecProcessRequest
from minicontainerd.api.types.metrics_pb2 import Metric
from minicontainerd.api.types.runc.options.oci_pb2 import ProcessDetails
from minicontainerd.api.types.task.task_pb2 import Status
from minicontainerd.cli.aliases import group
from minicontainerd.cli.network_flags import leave_networks
from minicontainerd.cli.output import table, warn
from minicontainerd.cli.run import Output, run_task
from minicontainerd.client import Client, container
from minicontainerd.client.process import Running
from minicontainerd.client.streams import FOLDER, Streams
from minicontainerd.errors import ContainerdError, FailedPrecondition, InvalidArgument, NotFound
from minicontainerd.linux.signals import number_of
from minicontainerd.snapshot.diff import temporarily


@group("tasks", "Manage running containers.")
def tasks() -> None: ...


@tasks.verb("list")
@click.option("--quiet", "-q", is_flag=True, help="Only the ids.")
@click.pass_obj
def list_(client: Client, quiet: bool) -> None:
    """List tasks."""
    found = client.tasks.list()
    if quiet:
        for task in found:
            click.echo(task.id)
        return
    rows = [(task.id, str(task.pid), Status.Name(task.status), "") for task in found]
    table([("TASK", "PID", "STATUS", ""), *rows], minimum=4, padding=4)


@tasks.verb("start")
@click.option("--null-io", is_flag=True, help="Throw its output away.")
@click.option("--log-uri", default="", help="Where its output goes: file:///path, binary:///path?args.")
@click.option("--fifo-dir", default=FOLDER, help="Where FIFOs are made.")
@click.option("--pid-file", default="", help="Write the pid of the first process there.")
@click.option("--detach", "-d", is_flag=True, help="Return as soon as it runs.")
@click.argument("id")
@click.pass_obj
def start(client: Client, null_io: bool, log_uri: str, fifo_dir: str, pid_file: str, detach: bool, id: str) -> int:
    """Run a container that was created; exits with its exit code."""
    terminal = bool(container.spec_of(client.containers.get(id)).get("process", {}).get("terminal"))
    output = Output(null_io, log_uri, fifo_dir)
    return run_task(client, id, output, terminal=terminal, detach=detach, pid_file=pid_file)


@tasks.verb("exec", context_settings={"allow_interspersed_args": False})
@click.option("--cwd", default="", help="The working directory.")
@click.option("--tty", "-t", is_flag=True, help="Give it a terminal.")
@click.option("--detach", "-d", is_flag=True, help="Return as soon as it runs.")
@click.option("--exec-id", required=True, help="A name for the process.")
@click.option("--fifo-dir", default=FOLDER, help="Where FIFOs are made.")
@click.option("--log-uri", default="", help="Where its output goes.")
@click.option("--user", default="", help="user[:group], by name or number.")
@click.argument("id")
@click.argument("command", nargs=-1, required=True)
@click.pass_obj
def exec_(
    client: Client,
    cwd: str,
    tty: bool,
    detach: bool,
    exec_id: str,
    fifo_dir: str,
    log_uri: str,
    user: str,
    id: str,
    command: tuple[str, ...],
) -> int:
    """Run another command in a running container; exits with its exit code."""
    process = _process_spec(client, id, command, cwd, user, tty)
    streams = Output(False, log_uri, fifo_dir).streams(exec_id, terminal=tty)
    request = ExecProcessRequest(container_id=id, exec_id=exec_id, terminal=tty)
    if streams is not None:
        request.stdin, request.stdout, request.stderr = streams.stdin, streams.stdout, streams.stderr
    elif log_uri:
        request.stdout, request.stderr = log_uri, log_uri
    request.spec.CopyFrom(typeurl.pack_json(typeurl.PROCESS, process))
    try:
        client.tasks.exec(request)
        running = Running(client, id, exec_id)
        try:
            if detach:
                running.start()
                return 0
            status = running.converse(streams, terminal=tty) if streams else _started(running)
        finally:
            if not detach:
                client.tasks.delete_process(id, exec_id)
        return status
    finally:
        if streams is not None and not detach:
            streams.close()


def _started(running: Running) -> int:
    running.start()
    return running.wait()


def _process_spec(client: Client, id: str, command: tuple[str, ...], cwd: str, user: str, tty: bool) -> dict[str, Any]:
    """The container's own process, but for what this command says."""
    record = client.containers.get(id)
    client.tasks.get(id)
    spec = container.spec_of(record)
    process: dict[str, Any] = spec["process"]
    process["args"], process["terminal"] = list(command), tty
    if cwd:
        process["cwd"] = cwd
    if user:
        if not record.snapshot_key:
            container.set_user(spec, user, spec["root"]["path"], groups=False)
        else:
            mounts = client.snapshots(record.snapshotter).mounts(record.snapshot_key)
            with temporarily(mounts, read_only=True) as rootfs:
                container.set_user(spec, user, rootfs, groups=False)
    return process


@tasks.verb("attach")
@click.argument("id")
@click.pass_obj
def attach(client: Client, id: str) -> int:
    """Take over the input and output of a task that was started detached."""
    found = client.tasks.get(id)
    streams = Streams.of(found.stdin, found.stdout, found.stderr)
    running = Running(client, id)
    status = running.converse(streams, terminal=found.terminal, start=False)
    client.tasks.delete(id)
    streams.close()
    return status


@tasks.verb("kill")
@click.option("--signal", "-s", default="", help="By name or number; the image's stop signal, or SIGTERM.")
@click.option("--exec-id", default="", help="An added process.")
@click.option("--all", "-a", "everybody", is_flag=True, help="Every process of the container.")
@click.argument("id")
@click.pass_obj
def kill(client: Client, signal: str, exec_id: str, everybody: bool, id: str) -> None:
    """Send a signal."""
    record = client.containers.get(id)
    chosen = signal or record.labels.get("io.containerd.image.config.stop-signal", "SIGTERM")
    try:
        number = number_of(chosen)
    except ValueError:
        number = 0
    if not number:
        raise click.ClickException(f"invalid signal: {chosen}")
    try:
        client.tasks.kill(id, number, exec_id, all=everybody)
    except NotFound as error:
        if "task" in str(error) and not exec_id:
            raise NotFound(f"no running task found: {error}") from None
        raise


@tasks.verb("delete")
@click.option("--force", "-f", is_flag=True, help="End it first.")
@click.option("--exec-id", default="", help="An added process.")
@click.argument("ids", nargs=-1, required=True)
@click.pass_obj
def delete(client: Client, force: bool, exec_id: str, ids: tuple[str, ...]) -> None:
    """Remove tasks that have stopped; tells what was no success."""
    failure: ContainerdError | None = None
    for id in ids:
        try:
            code = _delete(client, id, exec_id, force=force)
        except ContainerdError as error:
            warn(f"unable to delete {id}", "error", error=error)
            failure = error
        else:
            if code:
                warn(f"task {exec_id or id} exit with non-zero exit code {code}")
    if failure is not None:
        raise failure


def _delete(client: Client, id: str, exec_id: str, *, force: bool) -> int:
    try:
        found = client.tasks.get(id, exec_id)
    except NotFound as error:
        raise NotFound(f"no running task found: {error}") from None
    if force and found.status != Status.STOPPED:
        client.tasks.kill(id, 9, exec_id, all=not exec_id)
        client.tasks.wait(id, exec_id)
    elif found.status not in (Status.STOPPED, Status.CREATED):
        state = Status.Name(found.status).lower()
        raise FailedPrecondition(f"task must be stopped before deletion: {state}")
    if exec_id:
        return client.tasks.delete_process(id, exec_id).exit_status
    ended = client.tasks.delete(id)
    leave_networks(client, id)
    for path in (found.stdin, found.stdout, found.stderr):
        folder = Path(path).parent
        if path and folder.parent == Path(FOLDER):  # made by a client that has left, which nobody else removes
            shutil.rmtree(folder, ignore_errors=True)
    return ended.exit_status


@tasks.verb("pause")
@click.argument("id")
@click.pass_obj
def pause(client: Client, id: str) -> None:
    """Freeze a container."""
    client.tasks.pause(id)


@tasks.verb("resume")
@click.argument("id")
@click.pass_obj
def resume(client: Client, id: str) -> None:
    """Thaw a container."""
    client.tasks.resume(id)


@tasks.verb("ps")
@click.argument("id")
@click.pass_obj
def ps(client: Client, id: str) -> None:
    """List the processes of a container, as the host numbers them."""
    rows = []
    for process in client.tasks.pids(id):
        info = "-"
        if process.HasField("info"):
            details = typeurl.unpack(process.info, ProcessDetails)
            info = json.dumps(MessageToDict(details, preserving_proto_field_name=True), separators=(",", ":"))
        rows.append((str(process.pid), info))
    table([("PID", "INFO"), *rows], minimum=1, padding=4, tabs=True)


@tasks.verb("metrics")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.argument("id")
@click.pass_obj
def metrics(client: Client, form: str, id: str) -> None:
    """Print what a container uses, as its cgroup counts it."""
    found = client.tasks.metrics([f"id=={id}"])
    if not found:
        client.tasks.get(id)  # tells why: no container, no task
        raise NotFound("no metrics received")
    data = typeurl.unpack_known(found[0].data)
    if data is None:
        raise InvalidArgument(f"cannot convert metric data to cgroups.Metrics: {found[0].data.type_url}")
    if form == "json":
        click.echo(json.dumps(MessageToDict(data, preserving_proto_field_name=True), indent=4))
    else:
        _metrics_table(found[0], data)


def _metrics_table(metric: Metric, data: Any) -> None:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(metric.timestamp.seconds))
    fraction = f".{metric.timestamp.nanos:09d}".rstrip("0").rstrip(".")
    table([("ID", "TIMESTAMP", ""), (metric.id, f"{moment}{fraction} +0000 UTC", "")], minimum=1, padding=8)
    click.echo("")
    rows: list[tuple[str, str]] = []
    if isinstance(data, v2.Metrics):
        rows += _v2_rows(data)
    elif isinstance(data, v1.Metrics):
        rows += _v1_rows(data)
    table([("METRIC", "VALUE", ""), *[(name, value, "") for name, value in rows]], minimum=1, padding=8)


def _v2_rows(data: v2.Metrics) -> list[tuple[str, str]]:
    rows = []
    if data.HasField("pids"):
        rows += [("pids.current", str(data.pids.current)), ("pids.limit", str(data.pids.limit))]
    if data.HasField("cpu"):
        names = ("usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled", "throttled_usec")
        rows += [(f"cpu.{name}", str(getattr(data.cpu, name))) for name in names]
    if data.HasField("memory"):
        fields = [field.name for field in data.memory.DESCRIPTOR.fields]
        rows += [(f"memory.{name}", str(getattr(data.memory, name))) for name in fields]
    return rows


def _v1_rows(data: v1.Metrics) -> list[tuple[str, str]]:
    rows = []
    if data.HasField("memory"):
        rows += [
            ("memory.usage_in_bytes", str(data.memory.usage.usage)),
            ("memory.limit_in_bytes", str(data.memory.usage.limit)),
            ("memory.stat.cache", str(data.memory.total_cache)),
        ]
    if data.HasField("cpu"):
        usage = " ".join(str(each) for each in data.cpu.usage.per_cpu)
        rows += [("cpuacct.usage", str(data.cpu.usage.total)), ("cpuacct.usage_percpu", f"[{usage}]")]
    if data.HasField("pids"):
        rows += [("pids.current", str(data.pids.current)), ("pids.limit", str(data.pids.limit))]
    return rows
