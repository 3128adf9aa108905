"""Everything that can go wrong, in containerd's own words.

::

    ContainerdError
    ├── InvalidArgument     the request cannot be right, whatever the state is
    ├── NotFound            the thing named is not there
    ├── AlreadyExists       it is, and must not be
    ├── PermissionDenied    the caller may not
    ├── ResourceExhausted   a limit is reached, the disk is full
    ├── FailedPrecondition  the state does not allow it: still running, has children, wrong digest
    ├── Aborted             another actor got in between
    ├── OutOfRange          an offset past the end
    ├── Unimplemented       not built here
    ├── Internal            a promise of our own code was broken
    ├── Unavailable         not now; trying again later may work
    ├── DataLoss            what was stored is gone or damaged
    ├── Unauthenticated     credentials are missing or wrong
    └── Unknown             a lower program failed with words of its own

Each class has the *words* that end its message, as in ``image "x": not found``: containerd's clients compare
them. And each has the number of its gRPC status code, so that one table serves gRPC, ttrpc and the command line.
The message says what was asked and what was found.

Source: containerd@301026e vendor/github.com/containerd/errdefs/errors.go and pkg/errgrpc/grpc.go.
"""

from __future__ import annotations


class ContainerdError(Exception):
    """A failure that has a meaning for the caller."""

    code = 2
    words = "unknown"

    def __str__(self) -> str:
        message = super().__str__()
        if not message:
            return self.words
        return message if message.endswith(self.words) else f"{message}: {self.words}"


class Unknown(ContainerdError):
    """A lower program failed; its own words are the message."""


class InvalidArgument(ContainerdError):
    """The request cannot be right, whatever the state is."""

    code, words = 3, "invalid argument"


class DeadlineExceeded(ContainerdError):
    """The time that was allowed is over."""

    code, words = 4, "context deadline exceeded"


class NotFound(ContainerdError):
    """The thing named is not there."""

    code, words = 5, "not found"


class AlreadyExists(ContainerdError):
    """The thing named is there already."""

    code, words = 6, "already exists"


class PermissionDenied(ContainerdError):
    """The caller may not do this."""

    code, words = 7, "permission denied"


class ResourceExhausted(ContainerdError):
    """A limit is reached, or the disk is full."""

    code, words = 8, "resource exhausted"


class FailedPrecondition(ContainerdError):
    """The state of the thing does not allow it."""

    code, words = 9, "failed precondition"


class Aborted(ContainerdError):
    """Another actor got in between."""

    code, words = 10, "aborted"


class OutOfRange(ContainerdError):
    """An offset lies past the end."""

    code, words = 11, "out of range"


class Unimplemented(ContainerdError):
    """Not built here."""

    code, words = 12, "not implemented"


class Internal(ContainerdError):
    """A promise of our own code was broken."""

    code, words = 13, "internal"


class Unavailable(ContainerdError):
    """Not now; trying again later may work."""

    code, words = 14, "unavailable"


class DataLoss(ContainerdError):
    """What was stored is gone or damaged."""

    code, words = 15, "data loss"


class Unauthenticated(ContainerdError):
    """Credentials are missing or wrong."""

    code, words = 16, "unauthenticated"


BY_CODE: dict[int, type[ContainerdError]] = {kind.code: kind for kind in ContainerdError.__subclasses__()}


def from_code(code: int, message: str) -> ContainerdError:
    """The exception for a status *code* (the number gRPC and ttrpc share) that arrived with *message*.

    >>> str(from_code(5, 'image "x": not found'))
    'image "x": not found'
    >>> type(from_code(99, "?")).__name__
    'Unknown'
    """
    return BY_CODE.get(code, Unknown)(message)
