"""What stands around the operator on a developer's or CI machine: cluster, database, images, checks, demo.

Nothing here ships in the operator's image. The executables beside this file (`cluster`, `image`, `test`, `demo`) are
the callers; `tests/` uses `harness.node.postgres` and `harness.cluster`.
"""
