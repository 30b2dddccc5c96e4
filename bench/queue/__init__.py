"""The queue beside its peers: draining, enqueuing, starting, dying. `bench.queue.rows` puts the rows together."""
