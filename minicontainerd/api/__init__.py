"""The wire: what a client, the daemon and a shim say to each other, byte for byte containerd's.

Everything here is format, and nothing is policy. The ``.proto`` files below this folder declare containerd's
services and messages under their public names, with comments of our own; ``generate.py`` makes Python of them.
What protobuf leaves open is written by hand, a small file each:

============ =========================================================================================
any          ``google.protobuf.Any`` with containerd's bare type names, and JSON for the runtime spec
fieldmask    which fields an update may touch: ``labels``, ``labels.<any key at all>``
filters      the little language of ``ctr images ls name~=debian``
headers      the namespace and lease that travel beside a request
rpc          every method of every service, found from the descriptors
grpc_server  how they are called: gRPC, on http2/
ttrpc/       gRPC's small sister between daemon and shim: ten bytes of header, no HTTP
============ =========================================================================================

Read ``any`` first, then ``ttrpc/frame.py``; the proto files are best read beside the service that implements them.
Source: containerd@301026e api/; the ttrpc protocol: containerd/ttrpc@4b166fb PROTOCOL.md.
"""
