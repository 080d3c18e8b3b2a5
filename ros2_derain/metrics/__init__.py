"""Metrics: functions on arrays, no files, no devices."""
