"""``minictr events``."""

from __future__ import annotations

import datetime
import json
from typing import Any

import click
from google.protobuf.json_format import MessageToDict

from minicontainerd.api import any as typeurl
from minicontainerd.api.events import (  # noqa: F401  loaded, so that what arrives can be read
    container_pb2,
    content_pb2,
    image_pb2,
    namespace_pb2,
    sandbox_pb2,
    snapshot_pb2,
    task_pb2,
)
from minicontainerd.api.types.event_pb2 import Envelope
from minicontainerd.client import Client


@click.command()
@click.argument("filters", nargs=-1)
@click.pass_obj
def events(client: Client, filters: tuple[str, ...]) -> None:
    """Print events as they happen, one a line, until interrupted."""
    for envelope in client.events.subscribe(filters):
        click.echo(_line(envelope))


def _line(envelope: Envelope) -> str:
    moment = datetime.datetime.fromtimestamp(envelope.timestamp.seconds, datetime.UTC)
    fraction = f".{envelope.timestamp.nanos:09d}".rstrip("0").rstrip(".")
    when = f"{moment:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"
    return f"{when} {envelope.namespace} {envelope.topic} {json.dumps(_body(envelope), separators=(',', ':'))}"


def _body(envelope: Envelope) -> Any:
    event = typeurl.unpack_known(envelope.event)
    if event is None:
        return {"type_url": envelope.event.type_url}
    return _readable(event)


def _readable(event: Any) -> Any:
    """A message as JSON with the field names of the .proto file; an Any inside is shown by its type."""
    shown: dict[str, Any] = {}
    for field, value in event.ListFields():
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Any":
            shown[field.name] = {"type_url": value.type_url}
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            shown[field.name] = [_message(each) for each in value] if field.is_repeated else _message(value)
        elif field.message_type is not None:
            shown[field.name] = dict(value)
        else:
            shown[field.name] = list(value) if field.is_repeated else value
    return shown


def _message(message: Any) -> Any:
    if message.DESCRIPTOR.full_name == "google.protobuf.Timestamp":
        return MessageToDict(message)
    return _readable(message)
