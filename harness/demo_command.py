"""Everything from nothing: a cluster, the operator, the flights example run on real data, its result printed.

Called by the executable `harness/demo`, inside the virtual environment. What is there already is left as it is, so
that a second run begins with the run of the pipeline.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from harness import console, deployment, places, watching
from harness.console import HarnessError, elapsed, run, say
from harness.deployment import kubectl
from harness.node import postgres_programs
from harness.providers import choice

NAMESPACE, DAG = "air", "flights"
EXAMPLE = places.ROOT / "examples" / "flights"
WITHIN = 15 * 60.0


def main(argv: list[str]) -> int:
    """Run the demo; 0 when the example ended well."""
    parser = argparse.ArgumentParser(prog="harness/demo", description=__doc__.splitlines()[0])
    parser.add_argument("--name", default=places.chosen_cluster(), help="which cluster (default: %(default)s)")
    parser.add_argument("--provider", choices=choice.NAMES, help="default: the one it was made with, else native")
    chosen = parser.parse_args(argv)
    began = time.monotonic()
    try:
        provider = choice.get(chosen.name, chosen.provider)
        provider.up()
        env = deployment.environment(provider)
        deployment.load_images(provider)
        deployment.install(env)
        kubectl(env, "apply", "-k", str(EXAMPLE))
        _follow(env)
        _show(env)
    except HarnessError as error:
        say(f"headrace: {error}")
        return 1
    say(f"\nDone after {elapsed(time.monotonic() - began)}. It stays up; to look around, and to end it:")
    suffix = "" if chosen.name == places.DEFAULT_CLUSTER else f" --name {chosen.name}"
    example = (EXAMPLE / "flights.yaml").relative_to(places.ROOT)
    say(f'  eval "$(harness/cluster env{suffix})"')
    say(f"  harness/headrace history {DAG} -n {NAMESPACE}")
    say(f"  harness/headrace plan -f {example}     # after an edit: what applying it would do")
    say(f"  harness/cluster down{suffix}")
    return 0


def _follow(env: Mapping[str, str]) -> None:
    """Show the tasks of each job until the run was taken up and everything is up to date."""
    counts: dict[str, tuple[int, int]] = {}
    terminal = Console(stderr=True)
    if terminal.is_terminal:
        with _bars(terminal) as bars:
            for _ in _until_settled(env, counts):
                _draw(bars, counts)
    else:
        with console.Progress("example", lambda: ", ".join(f"{job} {done}" for job, (done, _) in counts.items())):
            for _ in _until_settled(env, counts):
                pass


def _until_settled(env: Mapping[str, str], counts: dict[str, tuple[int, int]]) -> Iterator[None]:
    """Keep `counts` (job to units done and in all) up to date; a step for each change, the last when all is done."""
    for one in watching.watch(env, NAMESPACE, ("dags.headrace.dev", "jobs.headrace.dev"), WITHIN):
        status = one.get("status", {})
        if one["kind"] == "Job" and status.get("dag") == DAG:
            counts[str(status.get("jobName", one["metadata"]["name"]))] = _counted(status)
            yield
        elif one["kind"] == "DAG" and one["metadata"]["name"] == DAG and _settled(one):
            return


def _bars(terminal: Console) -> Progress:
    columns = TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=terminal)


def _draw(bars: Progress, counts: Mapping[str, tuple[int, int]]) -> None:
    """Tasks are made as their data arrives; the busiest job tells how many there will be."""
    drawn = {task.description: task.id for task in bars.tasks}
    most = max(total for _, total in counts.values()) or None
    for job, (done, _) in counts.items():
        bar: TaskID = drawn[job] if job in drawn else bars.add_task(job, total=None)
        bars.update(bar, completed=done, total=most)


def _counted(status: Mapping[str, Any]) -> tuple[int, int]:
    """Units of a job that are done, and all it has at the moment."""
    done = int(status.get("units", {}).get("done", status.get("completed", 0)))
    return done, done + sum(int(status.get(state, 0)) for state in ("waiting", "running", "failed"))


def _settled(dag: Mapping[str, Any]) -> bool:
    """Whether the run was taken up and all its work is done; HarnessError when it cannot get there by itself."""
    status = dag.get("status", {})
    conditions = {one["type"]: one for one in status.get("conditions", ())}
    for bad in ("Stalled", "Degraded"):
        if conditions.get(bad, {}).get("status") == "True":
            raise HarnessError(f"DAG {DAG} is {bad}: {conditions[bad].get('message', '')}")
    return bool(
        status.get("observedGeneration") == dag["metadata"]["generation"]
        and status.get("lastHandled", {}).get("run")
        and conditions.get("UpToDate", {}).get("status") == "True"
    )


def _show(env: Mapping[str, str]) -> None:
    """Print the rankings, read by a pod from the partitions that were accepted, then the objects."""
    psql = [str(postgres_programs.binaries() / "psql"), env["HEADRACE_DATABASE_URL"], "-X", "-A", "-t"]
    variables = ["-v", f"org={NAMESPACE}", "-v", f"dag={DAG}", "-v", "ON_ERROR_STOP=1"]
    locations = run([*psql, *variables, "-f", str(EXAMPLE / "locations.sql")]).stdout
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "flights-locations", "namespace": NAMESPACE},
        "data": {"locations.json": locations},
    }
    pod = ("-n", NAMESPACE, "pod/flights-result")
    kubectl(env, "delete", *pod, "--ignore-not-found", "--grace-period=1")
    kubectl(env, "apply", "-f", "-", stdin=json.dumps(config))
    kubectl(env, "apply", "-f", str(EXAMPLE / "result.yaml"))
    # Whichever end it comes to: a failed pod says why in its log.
    kubectl(env, "wait", *pod, "--for=jsonpath={.status.containerStatuses[0].state.terminated}", "--timeout=120s")
    print(kubectl(env, "logs", *pod))
    print(kubectl(env, "-n", NAMESPACE, "get", "dags.headrace.dev,jobs.headrace.dev,datasets.headrace.dev"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
