"""Objects to one canonical document, its graph and its hashes; pure."""
