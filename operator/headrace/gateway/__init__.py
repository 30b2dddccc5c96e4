"""The HTTP edge: what people, and later workers, ask Headrace for. `headrace gateway` serves it."""
