"""Containers on a network, by CNI from both sides: the library that calls plugins, and plugins one can read.

A *network* is a name and a list of plugins, in a file. To attach a container, each plugin is run in turn with the
container's network namespace and with what the one before resulted in; to detach it, each is run in reverse::

    ADD   bridge ──result──▶ portmap ──result──▶ firewall ──▶ the final result, remembered
    DEL   firewall, portmap, bridge, each given the final result

The library and the plugins know nothing of each other but that protocol, so either side can be swapped with the
reference's, and the tests do so in every mixture. This room knows nothing of images, the store or the daemon.

=========== ============================================================================================
config      the files an administrator writes, and what of them a plugin is given
attach      the library: ADD, DEL, CHECK, GC, STATUS, VERSION. Read this after config
execute     one plugin as a process: everything it may do wrong, and how that is told
cache       what is remembered of each attachment, and who waits for whom
result      what ADD results in, in every version's words
versions    which versions there are, and which to speak
failure     what a plugin says when it fails; names: which names may be
plugins/    ours, a package with a first page of its own
nftables    rules for packets, for the plugins that need some
launcher    the programs that plugins are started by, and how to know ours
picture     what is attached to what, as a tree and as a picture
=========== ============================================================================================

How a plugin speaks to the kernel is in ``linux/``: ``netlink``, ``links``, ``routes``, ``traffic``. Left out: ``dhcp``,
``vlan``, ``vrf`` and ``sbr`` as plugins, VLAN trunks and MAC spoof checks of ``bridge``.

Specification: CNI 1.1.0, and 0.1.0 to 1.0.0 by conversion; cni@3f51e88 SPEC.md, CONVENTIONS.md. Where it is silent,
libcni of that commit, and plugins@3d27709.
"""
