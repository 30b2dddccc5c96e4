"""Headrace: a Kubernetes operator that runs data pipelines from `DAG`, `Job` and `Dataset` objects and Postgres."""
