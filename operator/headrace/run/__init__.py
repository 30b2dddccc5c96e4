"""Units of work: claim, pods, completion, sources."""
