"""The library that task code imports: a few lines make a worker. Standard library only, so that it fits any image.

    from headrace.worker import Task, run, task

    @task
    def clean(task: Task) -> None:
        rows = convert(task.inputs["raw"].location, task.outputs[0].location)
        task.made(rows=rows)

    if __name__ == "__main__":
        run()

The job names the function by its `operator`; a sole function needs no name. `idleTimeout` makes the job have workers.

A source of kind always_on is no worker: `Source()` is the task of its pod.
"""

from headrace.worker.loop import Worker
from headrace.worker.source import Source
from headrace.worker.task import Input, Location, Lost, Output, Task

__all__ = ["Input", "Location", "Lost", "Output", "Source", "Task", "Worker", "run", "task"]

_WORKER = Worker()
task = _WORKER.task
run = _WORKER.run
