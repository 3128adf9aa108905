"""Tests for ``test_in_vm.py`` to send to a guest: one of each outcome."""
