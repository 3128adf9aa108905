"""The seams of images: registries, layers and snapshots, with the real software on one side and ours on the other."""
