"""containerd, small enough to read in a weekend.

Each room of this package is one subject, and its own ``__init__`` is the page to open first:

======== =====================================================================
linux    the kernel's verbs: one function a system call
oci      the formats: digests, references, platforms, images, runtime configs
api      the wire: containerd's protobuf services, ttrpc, filters, field masks
store    what is kept: content addressed blobs and the metadata database
snapshot filesystems out of layers
pull     images in and out of registries
run      processes in containers: the runtime, its command line, the shim
network  containers on a network
daemon   puts them together behind containerd's gRPC API
client   a typed client for that API
cli      ``minictr``, one file a noun
======== =====================================================================
"""

__version__ = "0.1.0"
