"""The formats: what a name, an image and a container are, as documents. Parse, validate, print; no I/O.

Whoever agrees on these can exchange images and containers without knowing each other. Nothing here opens a file or
a socket, so every function can be tried at a Python prompt.

========= ===============================================================================================
digest    the name of some bytes, made from the bytes
reference where an image is, as people write it, in two grammars
platform  which machine an image is for, and which of several suits this one
image     index, manifest, config: a tree of JSON that points at layers by digest
runtime   config.json and state, as types
shape     a document held against these types
spec      the config.json that a client writes: safe defaults, then image and flags
seccomp   the default filter: which system calls a container may make
user      ``--user``, resolved in the image's own files
mount     a mount as data: what a snapshotter returns and a shim carries out
========= ===============================================================================================

Read in this order. Source: image-spec 1.1.1, runtime-spec 1.3; containerd@301026e where they are silent.
"""
