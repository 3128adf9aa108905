"""Tests that speak only to a seam, and so judge the real software and ours alike."""
