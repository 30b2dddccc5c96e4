"""Rows to status: what the objects tell people and tools; pure."""
