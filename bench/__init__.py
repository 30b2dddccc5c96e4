"""Measurements: what a task costs beside a bare pod, how soon work begins, what an idle operator does."""
