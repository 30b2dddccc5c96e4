"""Desired document and observed rows to steps; pure."""
