"""``minictr containers``."""

from __future__ import annotations

import json
from typing import Any

import click

from minicontainerd.api import any as typeurl
from minicontainerd.api import timestamp
from minicontainerd.api.services.containers.v1.containers_pb2 import Container
from minicontainerd.api.types.task.task_pb2 import Status
from minicontainerd.cli.aliases import group
from minicontainerd.cli.network_flags import leave_networks
from minicontainerd.cli.output import parse_labels, table, warn
from minicontainerd.cli.spec_flags import Flags, create_container, spec_flags, split_arguments
from minicontainerd.client import Client, container
from minicontainerd.errors import ContainerdError, FailedPrecondition, InvalidArgument, NotFound


@group("containers", "Manage containers.")
def containers() -> None: ...


@containers.verb("create", context_settings={"allow_interspersed_args": False})
@spec_flags
@click.argument("arguments", nargs=-1, metavar="IMAGE|ROOTFS ID [COMMAND] [ARG...]")
@click.pass_obj
def create(client: Client, flags: Flags, arguments: tuple[str, ...]) -> None:
    """Make a container without running it."""
    create_container(client, flags, *split_arguments(flags, arguments))


@containers.verb("list")
@click.option("--quiet", "-q", is_flag=True, help="Only the ids.")
@click.argument("filters", nargs=-1)
@click.pass_obj
def list_(client: Client, quiet: bool, filters: tuple[str, ...]) -> None:
    """List the containers that match any filter."""
    found = client.containers.list(filters)
    if quiet:
        for each in found:
            click.echo(each.id)
        return
    rows = [(each.id, each.image or "-", each.runtime.name, "") for each in found]
    table([("CONTAINER", "IMAGE", "RUNTIME", ""), *rows], minimum=4, padding=4)


@containers.verb("info")
@click.option("--spec", is_flag=True, help="Only the runtime spec.")
@click.argument("id")
@click.pass_obj
def info(client: Client, spec: bool, id: str) -> None:
    """Print all that is known of a container, as JSON."""
    found = client.containers.get(id)
    shown = container.spec_of(found) if spec else _as_json(found)
    click.echo(json.dumps(shown, indent=4))


def _as_json(found: Container) -> dict[str, Any]:
    runtime: dict[str, Any] = {"Name": found.runtime.name}
    if found.runtime.HasField("options"):
        runtime["Options"] = {"type_url": found.runtime.options.type_url}
    return {
        "ID": found.id,
        "Labels": dict(sorted(found.labels.items())),
        "Image": found.image,
        "Runtime": runtime,
        "SnapshotKey": found.snapshot_key,
        "Snapshotter": found.snapshotter,
        "CreatedAt": timestamp.rfc3339(timestamp.from_wire(found.created_at)),
        "UpdatedAt": timestamp.rfc3339(timestamp.from_wire(found.updated_at)),
        "Extensions": {key: {"type_url": value.type_url} for key, value in found.extensions.items()},
        "Spec": typeurl.unpack_json(found.spec),
    }


@containers.verb("label")
@click.argument("id")
@click.argument("labels", nargs=-1)
@click.pass_obj
def label(client: Client, id: str, labels: tuple[str, ...]) -> None:
    """Set labels; an empty value removes one. Prints all of them."""
    if not labels:
        raise InvalidArgument("please specify a container and at least one label")
    found = client.containers.label(id, parse_labels(labels))
    click.echo(",".join(f"{key}={value}" for key, value in sorted(found.labels.items())))


@containers.verb("delete")
@click.option("--keep-snapshot", is_flag=True, help="Leave the root filesystem.")
@click.argument("ids", nargs=-1, required=True)
@click.pass_obj
def delete(client: Client, keep_snapshot: bool, ids: tuple[str, ...]) -> None:
    """Remove containers; each must not be running."""
    failure: ContainerdError | None = None
    for id in ids:
        try:
            _delete_stopped_task(client, id)
            leave_networks(client, id)
            container.delete(client, id, keep_snapshot=keep_snapshot)
        except ContainerdError as error:
            warn(f'failed to delete container "{id}"', "error", error=error)
            failure = error
    if failure is not None:
        raise failure


def _delete_stopped_task(client: Client, id: str) -> None:
    try:
        process = client.tasks.get(id)
    except NotFound:
        return
    if process.status not in (Status.STOPPED, Status.CREATED):
        raise FailedPrecondition(f"cannot delete a non stopped container: {Status.Name(process.status).lower()}")
    if process.status == Status.CREATED:
        client.tasks.kill(id, 9)
        client.tasks.wait(id)
    client.tasks.delete(id)
