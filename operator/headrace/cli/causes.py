"""The chain of causes of a DAG, a job or a dataset, down to what has none: for `why`. Pure.

A dataset waits for the job that makes it, a job for those whose outputs it reads, over all DAGs of the namespace. The
words are those of the objects' statuses: the conditions, and what the columns WHY show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Final

from msgspec import Struct

from headrace.cli.objects import (
    Dag,
    Entry,
    From,
    NoSuchObject,
    View,
    dag_state,
    is_up_to_date,
    job_in_trouble,
    not_fresh,
)
from headrace.cli.reasons import holds_up, of_dag, of_dataset, of_job, rebuilding

_MOST: Final = 20
_DEEPEST: Final = 20
_OWN: Final = ("Failing", "Suspended", "Running")
"""States of a job whose reason is its own, whatever its inputs do."""


class Cause(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An object, how it stands, why in words, and the causes of that; `more` are left out."""

    object: str
    state: str
    words: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
    more: int = 0


def cause_of(view: View, target: str) -> Cause:
    """The chain of the DAG, DAG/JOB or dataset that is called `target`; NoSuchObject if none is."""
    dag, slash, job = target.partition("/")
    chain = _Chain(view)
    if slash and (dag in view.dags or (dag, job) in view.jobs):
        return chain.job(dag, job)
    if not slash and target in view.dags:
        return chain.dag(target)
    if not slash and target in view.datasets:
        return chain.dataset(target)
    written = _publisher(view, target)
    if written is not None:
        return chain.unmade(target, *written)
    # An output that nobody published: DAG.JOB.OUTPUT.
    parts = target.split(".")
    if not slash and len(parts) == 3 and parts[0] in view.dags:
        return chain.job(parts[0], parts[1])
    what = f"DAG {dag}" if slash else f"DAG or dataset {target}"
    raise NoSuchObject(f"there is no {what} in namespace {view.namespace}")


def causes_of_job(view: View, dag: str, job: str) -> tuple[Cause, ...]:
    """Those of a job alone, for who has its own words from elsewhere."""
    return _Chain(view).job(dag, job).causes


class _Chain:
    """Walks once over what is there: who was told of is not told of again."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._told: set[str] = set()
        self._good: set[tuple[str, str]] = set()
        self._depth = 0

    def dag(self, name: str, *, deep: bool = True) -> Cause:
        """A DAG, with its jobs in trouble where `deep`."""
        self._told.add(f"DAG {name}")
        dag = self._view.dags.get(name)
        if dag is None:
            return Cause(object=f"DAG {name}", state="Absent", words=(f"there is no DAG {name}: apply it",))
        troubled = self._troubled(dag) if deep else ()
        # Those are begun with from which no other one reads: the way up leads to the rest, where it goes on.
        read = {one.job for job in troubled if not self._own(name, job) for one in self._view.inputs_of(name, job)}
        ends = [job for job in troubled if job not in read] or list(troubled)
        ends.sort(key=lambda job: self._gravity(name, job))  # they may be many
        causes = tuple(self._untold_jobs((name, job) for job in ends[:_MOST]))
        late = (
            self.dataset(d.name) for d in self._view.datasets.values()
            if deep and d.spec.from_.dag == name and not_fresh(d) and f"dataset {d.name}" not in self._told
        )  # fmt: skip
        return Cause(
            object=f"DAG {name}",
            state=dag_state(dag),
            words=tuple(of_dag(dag)),
            causes=(*causes, *late),
            more=len(ends[_MOST:]),
        )

    def job(self, dag: str, name: str) -> Cause:
        """A job, with the jobs that it waits for."""
        self._told.add(f"job {dag}/{name}")
        job = self._view.jobs.get((dag, name))
        if job is None:
            above = [self.dag(dag, deep=False)] if f"DAG {dag}" not in self._told else []
            words = (f"no version of DAG {dag} that serves has it",)
            return Cause(object=f"job {dag}/{name}", state="Absent", words=words, causes=tuple(above))
        above = [] if self._own(dag, name) else list(islice(self._upstream(dag, name), _MOST))
        whole = self._view.dags.get(dag)
        if (whole is None or holds_up(whole)) and f"DAG {dag}" not in self._told:
            above.append(self.dag(dag, deep=False))
        state = job.status.state or "Unknown"
        return Cause(object=f"job {dag}/{name}", state=state, words=tuple(of_job(job)), causes=tuple(above))

    def dataset(self, name: str) -> Cause:
        """A dataset, with the job that makes it where that is in trouble or has made nothing."""
        self._told.add(f"dataset {name}")
        dataset = self._view.datasets[name]
        made_by = dataset.spec.from_
        dag, job = self._view.dags.get(made_by.dag), self._view.jobs.get((made_by.dag, made_by.job))
        words = [*of_dataset(dataset), *rebuilding(dag, made_by.job)]
        late = not_fresh(dataset)
        bad = late is not None or not dataset.status.partitions or job is None or self._bad(made_by.dag, made_by.job)
        causes = [self._job_above(made_by.dag, made_by.job)] if bad and self._untold(made_by.dag, made_by.job) else []
        if (dag is None or holds_up(dag)) and f"DAG {made_by.dag}" not in self._told:
            causes.append(self.dag(made_by.dag, deep=False))
        state = late.reason if late else "Fresh" if dataset.status.true("Fresh") else "Ready"
        state = state if dataset.status.partitions else "Empty"
        return Cause(object=f"dataset {name}", state=state, words=tuple(words), causes=tuple(causes))

    def unmade(self, name: str, dag: str, job: str) -> Cause:
        """A dataset that is written, and that no version which serves has."""
        self._told.add(f"dataset {name}")
        causes = [] if f"DAG {dag}" in self._told else [self.dag(dag, deep=False)]
        if (dag, job) in self._view.jobs and self._untold(dag, job):
            causes.append(self.job(dag, job))
        words = (f"no version of DAG {dag} that serves publishes it yet",)
        return Cause(object=f"dataset {name}", state="Absent", words=words, causes=tuple(causes))

    def _upstream(self, dag: str, job: str) -> Iterator[Cause]:
        for one in self._view.inputs_of(dag, job):
            source = self._source(dag, one)
            if source is None:
                if one.dataset is not None:
                    told = (f"there is no dataset {one.dataset} in the namespace",)
                    yield Cause(object=f"dataset {one.dataset}", state="Absent", words=told)
            elif not self._bad(*source):
                other = self._view.datasets.get(one.dataset or "")
                if other is not None and not_fresh(other) and f"dataset {other.name}" not in self._told:
                    yield self._dataset_above(other.name, source)
            elif one.dataset is not None and source[0] != dag and f"dataset {one.dataset}" not in self._told:
                yield self._dataset_above(one.dataset, source)
            elif self._untold(*source):
                yield self._job_above(*source)

    def _job_above(self, dag: str, job: str) -> Cause:
        return self._next(f"job {dag}/{job}", f"{dag}/{job}", partial(self.job, dag, job))

    def _dataset_above(self, name: str, source: tuple[str, str]) -> Cause:
        # One that a DAG's spec names before any of its versions serves is shown by no object.
        made = partial(self.dataset, name) if name in self._view.datasets else partial(self.unmade, name, *source)
        return self._next(f"dataset {name}", name, made)

    def _next(self, called: str, target: str, made: Callable[[], Cause]) -> Cause:
        """The next object up, as far as is told at once."""
        self._depth += 1
        try:
            if self._depth < _DEEPEST:
                return made()
            return Cause(object=called, state="Unknown", words=(f"and on: headrace why {target}",))
        finally:
            self._depth -= 1

    def _gravity(self, dag: str, job: str) -> int:
        status = self._view.jobs[dag, job].status
        return 0 if status.failed or status.state == "Failing" else 2 if status.state == "Running" else 1

    def _own(self, dag: str, job: str) -> bool:
        return self._view.jobs[dag, job].status.state in _OWN

    def _source(self, dag: str, given: From) -> tuple[str, str] | None:
        """The job that makes what an input reads."""
        if given.dataset is None:
            return (dag, given.job or "")
        found = self._view.datasets.get(given.dataset)
        return (
            (found.spec.from_.dag, found.spec.from_.job) if found is not None else _publisher(self._view, given.dataset)
        )

    def _bad(self, dag: str, name: str) -> bool:
        """Whether a job, or one upstream of it, is in trouble, or it has made nothing."""
        above, seen = [(dag, name)], set[tuple[str, str]]()
        while above:
            one = above.pop()
            job = self._view.jobs.get(one)
            if job is None or job_in_trouble(job) or not job.status.units.done:
                return True
            if one in self._good:
                continue
            seen.add(one)
            sources = (self._source(one[0], given) for given in self._view.inputs_of(*one))
            above += [source for source in sources if source is not None and source not in seen]
        self._good |= seen
        return False

    def _untold_jobs(self, jobs: Iterable[tuple[str, str]]) -> Iterator[Cause]:
        return (self.job(*one) for one in jobs if self._untold(*one))

    def _untold(self, dag: str, job: str) -> bool:
        return f"job {dag}/{job}" not in self._told

    def _troubled(self, dag: Dag) -> list[str]:
        if is_up_to_date(dag):
            return []
        return [job.name for job in self._view.jobs_of(dag.metadata.name) if job_in_trouble(job)]


def _publisher(view: View, dataset: str) -> tuple[str, str] | None:
    """The DAG and job that a spec names for a dataset which no object shows."""
    for name, dag in view.dags.items():
        entries: list[Entry] = dag.spec.publish or []
        for one in entries:
            if one.name == dataset:
                return name, one.from_.job or ""
    return None
