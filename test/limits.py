"""The timeout of tests."""

HANG_S = 300.0
"""Only a hang takes this long, even on a busy machine: a shorter timeout would test the speed."""
