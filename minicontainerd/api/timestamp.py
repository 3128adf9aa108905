"""Times on the wire. Inside, a time is an integer: nanoseconds since 1970, UTC.

The year 1 means "never", as Go's zero time does: it is how containerd writes the exit time of a running task.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

ZERO = -62135596800 * 1_000_000_000
"""0001-01-01T00:00:00Z in nanoseconds."""


def now() -> int:
    """The present, in nanoseconds since 1970."""
    return time.time_ns()


def to_wire(nanoseconds: int) -> Timestamp:
    """As a protobuf Timestamp."""
    seconds, nanos = divmod(nanoseconds, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)


def from_wire(timestamp: Timestamp) -> int:
    """As nanoseconds since 1970."""
    return timestamp.seconds * 1_000_000_000 + timestamp.nanos


def rfc3339(nanoseconds: int) -> str:
    """As text, with as many digits of the second as are not zero.

    >>> rfc3339(1_500_000_000), rfc3339(0)
    ('1970-01-01T00:00:01.5Z', '1970-01-01T00:00:00Z')
    """
    seconds, nanos = divmod(nanoseconds, 1_000_000_000)
    fraction = f".{nanos:09d}".rstrip("0").rstrip(".")
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def parse_rfc3339(text: str) -> int:
    """The reverse; fractions beyond nanoseconds are cut.

    >>> parse_rfc3339("1970-01-01T01:00:00.25+01:00")
    250000000

    Raises:
        ValueError: *text* is no such time.
    """
    whole, dot, rest = text.partition(".")
    digits = ""
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        whole += rest[len(digits) :]
    moment = datetime.fromisoformat(whole)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return int(moment.timestamp()) * 1_000_000_000 + int(digits[:9].ljust(9, "0") or 0)


def from_datetime(moment: datetime) -> Timestamp:
    """A :class:`datetime.datetime` with a time zone, as a protobuf Timestamp."""
    return to_wire(int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000)
