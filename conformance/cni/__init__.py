"""The seam between a caller of CNI and a plugin: any folder of plugins, and real callers."""
