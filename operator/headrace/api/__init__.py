"""The three objects a user writes as types: the one home of field names, bounds and descriptions.

The CRDs are generated from here (`crd`), the operator and the command line parse with the same types
(`parse`), and `compile` turns them into the canonical document. Nothing here knows Kubernetes' client,
Postgres or defaults: a field that the object leaves out is None, and `compile` fills it in.
"""
