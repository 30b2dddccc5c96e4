"""What a document says of columns: the contract of a published dataset, and what columns are made from. Pure.

`compile.dag` and `compile.jobs` call it. Neither decides what data are: they change no config_hash.
"""

from __future__ import annotations

from collections.abc import Set

from headrace.api.dataset import DatasetFields
from headrace.api.job import JobFields
from headrace.compile.document import ColumnDocument, ColumnFrom, JobDocument, LineageDocument
from headrace.compile.parts import PublishPart
from headrace.compile.problems import Problems


def columns_of(given: DatasetFields) -> tuple[ColumnDocument, ...]:
    """The contract of a dataset, by the columns' names."""
    listed = (ColumnDocument(c.name, c.type, c.nullable is not False) for c in given.columns or ())
    return tuple(sorted(listed, key=lambda c: c.name))


def check_contract(part: PublishPart, job: JobDocument) -> None:
    """Note a contract that nothing could keep."""
    if part.fields.columns and job.runtime == "dispatcher":
        part.problems.add(f"{part.path}.columns", None, f"the source {job.name} has no image and runs in the operator,"
                          " which makes no columns: give it an image, or leave columns out")  # fmt: skip


def lineage_of(
    job: JobFields, inputs: Set[str], outputs: int, path: str, problems: Problems
) -> tuple[LineageDocument, ...]:
    """What a job declares of its columns, by output and column; each is told once."""
    found: dict[tuple[int, str], LineageDocument] = {}
    for index, given in enumerate(job.lineage or ()):
        at, output = f"{path}[{index}]", given.output or 0
        if output >= outputs:
            problems.add(f"{at}.output", output, f"the job has {outputs} outputs, counted from 0")
        if (output, given.column) in found:
            problems.add(f"{at}.column", given.column, "told of twice: make one list of what it is made from")
        sources = {(source.input, source.column) for source in given.from_}
        for name in sorted({name for name, _ in sources} - inputs):
            listed = ", ".join(sorted(inputs)[:8])
            problems.add(f"{at}.from", name, f"no input has this name: use one of {listed}" if listed
                         else "the job has no inputs, so that nothing of it has a lineage: leave it out")  # fmt: skip
        found[output, given.column] = LineageDocument(
            output=output,
            column=given.column,
            from_=tuple(ColumnFrom(input=name, column=column) for name, column in sorted(sources)),
        )
    return tuple(found[place] for place in sorted(found))
