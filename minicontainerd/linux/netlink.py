"""netlink: how the kernel's network settings are read and changed, one message at a time.

A netlink socket is a file. What is written to it is a request, what is read from it are the answers::

    length  type    flags   sequence  0          16 bytes of header
    family, index, flags, ...                    a structure that the type says (here: of rtnetlink)
    length  type    value                        attributes, each padded to four bytes; a value may be attributes again
    ...

A request that changes something is answered by one message of type NLMSG_ERROR, whose number 0 means done. A request
for a list is answered by many, and NLMSG_DONE. With NETLINK_EXT_ACK the kernel also says in words what it dislikes.

A socket belongs to the network namespace in which it was made, and stays there: so one process can hold a socket into
each of many namespaces, and move an interface from one to the other. ``links`` has the verbs on interfaces, ``routes``
those on addresses and routes, ``traffic`` those that shape. A library does this as well, at 0.2 seconds of import
for every plugin that is started; these are the hundred lines it takes.

Source: netlink(7), rtnetlink(7); linux/netlink.h and rtnetlink.h of Linux 6.1.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

from .libc import libc, os_error
from .namespaces import inside

_AF_NETLINK, _SOCK_RAW, _SOCK_CLOEXEC, _NETLINK_ROUTE = 16, 3, 0o2000000, 0
_SOL_NETLINK, _EXT_ACK, _STRICT_CHECK = 270, 11, 12
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_ACK_TLVS = 0x200
_ERROR_TEXT = 1  # NLMSGERR_ATTR_MSG

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
REPLACE, EXCL, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NESTED, _TYPE = 0x8000, 0x3FFF


class Netlink:
    """A socket for rtnetlink, in the caller's network namespace or in the one behind *namespace*."""

    def __init__(self, namespace: int | None = None) -> None:
        self.where = "" if namespace is None else "-n CONTAINER "
        if namespace is None:
            self.descriptor = _socket()
        else:
            with inside(namespace):
                self.descriptor = _socket()
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "rtnetlink"  # in a told call it is there, but says nothing

    def close(self) -> None:
        """Close the socket."""
        os.close(self.descriptor)

    def change(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Send a request of type *kind* that changes something, and wait for its end.

        Raises:
            OSError: the number that the kernel answered, with its words, if it has any.
        """
        for _ in self._answers(kind, body, REQUEST | ACK | flags):
            pass

    def get(self, kind: int, body: bytes) -> bytes:
        """Send a request for one thing; gives the message without its header.

        Raises:
            OSError: as for change; ENODEV, there is no such interface.
        """
        return next(iter(list(self._answers(kind, body, REQUEST | ACK))))

    def list(self, kind: int, body: bytes) -> list[bytes]:
        """Send a request for a list; gives each message without its header."""
        return list(self._answers(kind, body, REQUEST | DUMP))

    def _answers(self, kind: int, body: bytes, flags: int) -> Iterator[bytes]:
        self._sequence += 1
        os.write(self.descriptor, _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0) + body)
        while True:
            data = os.read(self.descriptor, 1 << 17)
            while data:
                length, type_, its_flags, sequence, _ = _HEADER.unpack_from(data)
                payload, data = data[_HEADER.size : length], data[_aligned(length) :]
                if sequence != self._sequence:
                    continue  # what is left of a request whose answers were not read to the end
                if type_ in (_NLMSG_ERROR, _NLMSG_DONE):
                    _check(payload, its_flags)
                    return
                yield payload


def typed(words: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], str]:
    """What ``act`` takes as *by_hand*: the command that *words* make, typed for the socket's namespace.

    The other namespace is called CONTAINER; who wants to type it gives it this name with ``ip netns attach``.
    """

    def by_hand(arguments: dict[str, Any]) -> str:
        program, _, rest = words(arguments).partition(" ")
        return f"{program} {arguments['net'].where}{rest}"

    return by_hand


def number(kind: int, value: int, format: str = "=I") -> bytes:
    """An attribute that is a number, 32 bits wide if *format* does not say otherwise."""
    return raw(kind, struct.pack(format, value))


def text(kind: int, value: str) -> bytes:
    """An attribute that is a name, with the zero that ends it."""
    return raw(kind, value.encode() + b"\0")


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute made of attributes."""
    return raw(kind | _NESTED, b"".join(attributes))


def raw(kind: int, value: bytes) -> bytes:
    """An attribute with these bytes.

    >>> raw(3, b"lo").hex()
    '060003006c6f0000'
    """
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in *data* by their type.

    >>> attributes(raw(3, b"lo") + number(4, 1500))
    {3: b'lo', 4: b'\\xdc\\x05\\x00\\x00'}
    """
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE] = data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]
    return found


def _socket() -> int:
    descriptor = int(libc.socket(_AF_NETLINK, _SOCK_RAW | _SOCK_CLOEXEC, _NETLINK_ROUTE))
    if descriptor == -1:
        raise os_error("socket(2)")
    one = ctypes.c_int(1)
    for option in (_EXT_ACK, _STRICT_CHECK):
        libc.setsockopt(descriptor, _SOL_NETLINK, option, ctypes.byref(one), 4)  # a courtesy; an old kernel has none
    return descriptor


def _check(payload: bytes, flags: int) -> None:
    """Raise what a final message says, if that is a failure."""
    code = struct.unpack_from("=i", payload)[0] if payload else 0
    if code == 0:
        return
    words = ""
    if flags & _ACK_TLVS:  # after the number, the request as it was sent, unless the kernel was told not to
        length = struct.unpack_from("=I", payload, 4)[0]
        words = attributes(payload[4 + _aligned(length) :]).get(_ERROR_TEXT, b"").rstrip(b"\0").decode()
    error = OSError(-code, os.strerror(-code) + (f": {words}" if words else ""))
    error.add_note(f"netlink(7): {errno.errorcode.get(-code, code)}")
    raise error


def _aligned(length: int) -> int:
    return (length + 3) & ~3
