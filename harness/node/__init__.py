"""One node of real Kubernetes and a Postgres: one file per daemon over one generic process, inside one sandbox.

Called by `harness.providers.native`; tests use `postgres` and `identity`.
"""
