"""The power goes, at any moment: what was acknowledged is there afterwards, and nothing is corrupt."""
