"""The outputs of a document with their names: what a version's datasets are. Pure.

Applying a plan expands it to these rows, so that plans that are only looked at do without ten thousand of them.
"""

from __future__ import annotations

from msgspec import Struct

from headrace.api.names import default_dataset_name
from headrace.compile.document import Compiled


class DatasetRow(Struct, frozen=True, kw_only=True):
    """One output of the wanted document with its name, and the fingerprint of its contents.

    `unique_key`: the columns that tell its rows apart, if tasks add parts to it.
    """

    job: str
    output: int
    name: str
    storage_base: str | None
    fingerprint: str
    unique_key: tuple[str, ...] | None = None


def dataset_rows(compiled: Compiled) -> tuple[DatasetRow, ...]:
    """Every output of the document: published under its name, or under the name made of its producer."""
    document = compiled.document
    published = {(p.job, p.output): p for p in document.publish}
    rows: list[DatasetRow] = []
    for job in document.jobs:
        for output, fingerprint in enumerate(compiled.jobs[job.name].outputs):
            p = published.get((job.name, output))
            rows.append(
                DatasetRow(
                    job=job.name,
                    output=output,
                    name=p.name if p else default_dataset_name(document.dag, job.name, output),
                    storage_base=p.storage_base if p else None,
                    fingerprint=fingerprint,
                    unique_key=job.unique_key or None,
                )
            )
    return tuple(rows)
