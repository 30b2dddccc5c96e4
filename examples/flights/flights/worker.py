"""`flights worker`: the same steps, many tasks in one pod, for jobs with an `idleTimeout`; the `operator` is the step.

The library claims tasks from the gateway and renews their leases; what raises is the reason of a failed attempt.
"""

import headrace.worker
from flights import live, steps
from flights.task import Task


def main() -> None:
    """Work until there has been nothing to do for the job's `idleTimeout`."""
    worker = headrace.worker.Worker()
    for step in (steps.clean, steps.weather, steps.join, steps.rank, live.tidy, live.daily):

        def run(given: headrace.worker.Task, step=step) -> None:
            task = Task(dict(given.document))
            for key in task.keys:
                for line in step(task, key):
                    given.made(**line)
                    print(
                        f"{step.__name__} {key}: {line['rows']} rows, {line['bytes']} bytes in output {line['output']}"
                    )

        worker.task(step.__name__)(run)
    worker.run()
