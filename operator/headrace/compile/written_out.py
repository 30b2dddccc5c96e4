"""The hashes of a document and of each of its jobs as they are written out, one job at a time. Pure; `dag` calls it.

With the DAG's defaults in each of its jobs a document may be a thousand times as large as what its author wrote, so its
text is never held as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from headrace.compile.document import Document
from headrace.compile.hashes import canonical_json, digest_of_text
from headrace.compile.problems import Problems

LARGEST: Final = 64 << 20
"""Characters that all jobs together may have: six thousand for each of 10,000."""


def written_out(document: Document, problems: Problems) -> tuple[str, dict[str, str]]:
    """The hash of the document, and of each job's own, by name; CompileError when all jobs are more than LARGEST."""
    rest, own, size = msgspec.to_builtins(msgspec.structs.replace(document, jobs=())), dict[str, str](), 0

    def jobs() -> Iterator[str]:
        nonlocal size
        for index, job in enumerate(document.jobs):
            text = canonical_json(msgspec.to_builtins(job))
            size += len(text)
            if size > LARGEST:
                told = (
                    f"with the defaults in each the jobs are more than {LARGEST >> 20} MiB: shorten defaults.template"
                )
                problems.add("spec", None, told)
                problems.raise_if_any()
            own[job.name] = digest_of_text("job-document", [text])
            yield f",{text}" if index else text

    def pieces() -> Iterator[str]:
        for index, key in enumerate(sorted(rest)):
            yield f"{',' if index else '{'}{canonical_json(key)}:"
            if key == "jobs":
                yield "["
                yield from jobs()
                yield "]"
            else:
                yield canonical_json(rest[key])
        yield "}"

    return digest_of_text("document", pieces()), own
