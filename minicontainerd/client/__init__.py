"""A typed client for containerd's API, ours and the real one alike.

>>> from minicontainerd.client import Client
>>> client = Client("/run/containerd/containerd.sock", namespace="default")  # connects when first used
>>> [image.name for image in client.images.list()]  # doctest: +SKIP
['docker.io/library/debian:12']

``channel`` is the connection: one call in, one message or one of our errors out. ``client`` has an object for each
service. ``content`` and ``snapshots`` offer what the store and a snapshotter offer in the daemon, over the wire, so
that ``pull`` works on either side without knowing which. ``container`` makes a container out of an image, and
``streams`` carries its input and output. The client blocks; use threads for more at once.

What a containerd client does itself rather than asking the daemon to, is done here too: writing the spec, and
making FIFOs.
"""

from minicontainerd.client.client import Client

__all__ = ["Client"]
