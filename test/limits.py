"""How long a test waits for what must come."""

HANG_S = 300.0
"""Only a hang takes so long, on however busy a machine: a test that waits less long asserts a speed."""
