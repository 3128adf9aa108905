"""Our CNI plugins, one file each. Any of them runs as a program of its own, and can be called without one.

============ ======================================================================================
skeleton     what all share: the protocol from the plugin's side, and how one plugin runs another
sandbox      the container's network namespace, and an interface set up in it
loopback     ``lo``, up
host_local   addresses out of ranges, remembered as files (IPAM)
static       addresses as configured (IPAM)
bridge       a switch on the host, and a cable to each container
ptp          a cable to each container, and routes
portmap      ports of the host that lead to a container
firewall     what may be forwarded
ipam         not a plugin: addresses from another plugin
virtual      not a plugin: what macvlan, ipvlan and dummy share
masquerade   not a plugin: leaving under the host's address, for bridge and ptp
tuning       sysctls, hardware address, MTU, promiscuous mode
macvlan      one more hardware address on an interface of the host
ipvlan       one more IP address on it
host_device  an interface of the host, given away
dummy        an interface that goes nowhere
bandwidth    how fast
============ ======================================================================================

Read ``skeleton`` first, then ``loopback``, the shortest. Names, keys and files on disk are those of the reference
plugins, so that a container added by one may be deleted by the other. Source: plugins@3d27709.
"""

from __future__ import annotations

NAMES = (
    "loopback",
    "host-local",
    "bridge",
    "ptp",
    "static",
    "portmap",
    "firewall",
    "tuning",
    "macvlan",
    "ipvlan",
    "host-device",
    "dummy",
    "bandwidth",
)
"""The names of the programs; a module is called the same, with underscores."""
