"""Containers on a network, by CNI from both sides: the library that calls plugins, and plugins one can read.

A *network* is a list of plugins in a file. To attach a container, each is run in turn with the container's network
namespace and what the one before resulted in; to detach it, each is run in reverse. The library and the plugins know
nothing of each other but that protocol, so either side can be swapped with the reference's.
"""
