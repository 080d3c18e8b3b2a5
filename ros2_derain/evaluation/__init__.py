"""What the system is worth: the demo, benchmarks, and the reports they write."""
