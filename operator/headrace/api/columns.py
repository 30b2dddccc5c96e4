"""What `kubectl get dag,hjob,dset` prints: narrow enough for 80 columns, the rest with `-o wide`. Used by `crd`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headrace.api import names


@dataclass(frozen=True, slots=True)
class Column:
    """One printer column; `wide` ones are printed with `-o wide` only."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False

    def document(self) -> dict[str, object]:
        """As the CRD has it."""
        return {
            "name": self.name,
            "type": self.type,
            "jsonPath": self.path,
            "description": self.description,
            "priority": int(self.wide),
        }


def _condition(name: str, type_: str, description: str) -> Column:
    return Column(name, f'.status.conditions[?(@.type=="{type_}")].status', description)


_AGE: Final = Column("Age", ".metadata.creationTimestamp", "Time since the object was made.", "date")

COLUMNS: Final = {
    names.DAG: (
        _condition("Ready", "Ready", "Whether a version serves."),
        _condition("UpToDate", "UpToDate", "Whether everything is done for the newest spec."),
        Column("Version", ".status.version.short", "Short hash of the version that serves."),
        Column("Running", ".status.tasks.running", "Tasks that run.", "integer"),
        Column("Waiting", ".status.tasks.waiting", "Tasks that wait.", "integer"),
        Column("Failed", ".status.tasks.failed", "Tasks that failed for good.", "integer"),
        _AGE,
        Column("Message", ".status.message", "The most important thing to know now.", wide=True),
    ),
    names.JOB: (
        Column("Status", ".status.state", "Idle, Running, Waiting, Failing or Suspended."),
        Column("Done", ".status.units.done", "Units of work, such as partitions, that are done.", "integer"),
        Column("Running", ".status.running", "Tasks that run.", "integer"),
        Column("Waiting", ".status.waiting", "Tasks that wait.", "integer"),
        Column("Failed", ".status.failed", "Tasks that failed for good.", "integer"),
        Column("Last", ".status.lastTask.at", "Time since its last task changed.", "date"),
        _AGE,
        Column("DAG", ".spec.dag", "The DAG that the job belongs to.", wide=True),
        Column("Why", ".status.waitingFor", "Why it is not running.", wide=True),
    ),
    names.DATASET: (
        Column("Partitions", ".status.partitions", "How many partitions it has.", "integer"),
        Column("Rows", ".status.rows", "How many rows, as far as tasks reported them.", "integer"),
        Column("Updated", ".status.lastUpdated", "Time since a partition was last made.", "date"),
        _condition("Fresh", "Fresh", "Whether the last update is no older than its freshness."),
        _AGE,
        Column("Dataset", ".status.name", "Name by which the dataset is read.", wide=True),
        Column("Why", ".status.waitingFor", "Why it is not as written, or not fresh; what makes it anew.", wide=True),
        Column("Location", ".status.location", "Where the contents live.", wide=True),
    ),
}
