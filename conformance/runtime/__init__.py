"""The seam between shim and runtime: the command line of runc, asked of any runtime that claims to have it."""
