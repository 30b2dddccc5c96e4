"""Measurements: a task beside a bare pod, how soon work begins, what an idle operator does, what a deploy costs."""
