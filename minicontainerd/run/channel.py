"""What parent and child tell each other while a container is made: short messages over two pipes.

A pipe opened with O_DIRECT keeps messages apart: one write is one read, up to 4096 bytes. Whoever reads nothing at
all knows that the other side is gone. A message is a word, and sometimes a text after it::

    child:   inside       I am in all namespaces, and will be the container's process
             pid 4711     that process is this child of mine
             map          I am in a new user namespace, write its mappings
             mounted      the mounts are there, the root is not changed yet: run the hooks
             seccomp 7    I have loaded the filter; its listener is this descriptor of mine
             done         all is ready
             error TEXT   it went wrong; TEXT is the whole sentence for the caller
    parent:  go           go on

All descriptors close on exec. For ``exec`` that is the good news: an end of file without an error.
"""

from __future__ import annotations

import os

_LONGEST = 4096


class Channel:
    """One side of the conversation."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self.incoming = incoming
        self.outgoing = outgoing

    def say(self, word: str, text: str = "") -> None:
        """Send one message; a text that is too long for one loses its end."""
        os.write(self.outgoing, f"{word} {text}".encode(errors="backslashreplace")[:_LONGEST])

    def hear(self) -> tuple[str, str]:
        """Wait for the next message; ``("", "")`` when the other side has gone."""
        word, _, text = os.read(self.incoming, _LONGEST).decode(errors="replace").partition(" ")
        return word, text

    def close(self) -> None:
        os.close(self.incoming)
        os.close(self.outgoing)


def pair() -> tuple[Channel, Channel]:
    """The parent's side and the child's. After the fork, each closes the side that is not its own."""
    to_parent = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
    to_child = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
    return Channel(to_parent[0], to_child[1]), Channel(to_child[0], to_parent[1])
