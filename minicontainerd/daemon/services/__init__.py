"""The services of the gRPC API, one file each. Each translates, and none decides.

A method takes the request and a :class:`~minicontainerd.api.rpc.Call`, which knows namespace and lease. What blocks
goes through ``daemon/blocking.py``. Events are sent after what they tell is on disk.
Source: containerd@301026e plugins/services.
"""
