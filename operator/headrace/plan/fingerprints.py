"""Which data a job's fingerprint stands for: as compiled, or, where `rollout.reuse` says so, those of another one.

A recorded equivalence holds for good and for everything downstream: the Merkle hash of a job is made of what its inputs
stand for. Pure; `state.observe` calls it, so that everything after compares what the data are.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from headrace.compile.document import Compiled, CompiledJob, InputDocument
from headrace.compile.hashes import external_fingerprint, job_fingerprint, output_fingerprint
from headrace.plan.steps import SameData

Known = Mapping[tuple[str, str], str]
"""Recorded equivalences: (job, fingerprint) to the fingerprint that it is the same data as."""


def resolved(compiled: Compiled, known: Known, reuse: Mapping[str, str]) -> tuple[Compiled, tuple[SameData, ...]]:
    """`compiled` with the fingerprints that its data have, and the equivalences that are new.

    `reuse`: jobs whose data stay as they are, to the fingerprint that they serve with.
    """
    if not known and not reuse:
        return compiled, ()
    new: list[SameData] = []
    done: dict[str, CompiledJob] = {}

    def input_fingerprint(given: InputDocument) -> str:
        return external_fingerprint(given.dataset) if given.dataset else done[given.job].outputs[given.output]

    documents = {job.name: job for job in compiled.document.jobs}
    # Whoever is downstream has more jobs upstream than those it reads from.
    for name, job in sorted(compiled.jobs.items(), key=lambda item: item[1].upstream.bit_count()):
        own = job_fingerprint(job.config_hash, [input_fingerprint(i) for i in documents[name].inputs])
        same = known.get((name, own))
        if same is None and reuse.get(name, own) != own:
            same = reuse[name]
            new.append(SameData(job=name, fingerprint=own, same_as=same))
        own = same or own
        outputs = tuple(output_fingerprint(own, index) for index in range(len(job.outputs)))
        done[name] = replace(job, fingerprint=own, outputs=outputs)
    return replace(compiled, jobs={name: done[name] for name in compiled.jobs}), tuple(new)
