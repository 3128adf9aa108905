"""HTTP/2, as much of it as a gRPC server on a unix socket needs: no TLS, no upgrade, no priorities, no pushes.

One connection carries many calls at once, each a *stream* with a number. All is cut into *frames*: nine bytes of
header, then up to 16 KiB. Each side may send only as much as the other has room for, counted per stream and for the
whole connection. Header fields are compressed against a table that both sides keep (HPACK, RFC 7541); decoding them
is the work of the library hpack.

============ ==============================================================================================
frame        the nine bytes, and what the numbers in them mean
connection   one client: frames in, frames out, rooms counted, streams opened and closed
============ ==============================================================================================

Why not the library that gRPC comes with? Its core answers a call with some twenty hand-overs between threads. To
start a container takes forty calls, and they took as long as the container (docs/bench). It is still what our clients
use, and so what these files are tested with, beside Go's.

Source: RFC 9113; sections are cited where a rule comes from one.
"""
