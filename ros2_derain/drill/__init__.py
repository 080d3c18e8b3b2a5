"""Faults injected into a running pipeline, and what it makes of them."""
