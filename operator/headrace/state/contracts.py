"""Contracts of what tasks make, at its completion; and the columns that were reported, by their hash.

`attempts` and `events` call it before anything points to what was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from headrace.compile.document import ColumnDocument
from headrace.errors import PermanentError
from headrace.plan.contracts import difference, schema_hash
from headrace.state.database import Transaction, jsonb

Columns = tuple[ColumnDocument, ...]


class ContractBroken(PermanentError):
    """What tasks have made is not as its contract says: by task, the difference in words."""

    def __init__(self, breaches: Mapping[UUID, str]) -> None:
        super().__init__("; ".join(breaches.values()))
        self.breaches = breaches


class Done(Protocol):
    """A task that is done, and the columns that it reported, by output."""

    @property
    def id(self) -> UUID: ...

    @property
    def columns(self) -> dict[int, Columns]: ...


class _Contract(Struct, frozen=True):
    id: UUID
    output: int
    dataset: str
    columns: Columns


async def check_contracts(tx: Transaction, done: Sequence[Done], made: Mapping[UUID, Set[int]] | None = None) -> None:
    """ContractBroken when any of these tasks has made what the version that its job belongs to now does not allow.

    `made`: by task, the outputs that it has made, where these are not all.
    """
    rows = await tx.rows("contracts_of", _Contract, ids=[one.id for one in done])
    if not rows:
        return
    said = {one.id: one.columns for one in done}
    breaches: dict[UUID, list[str]] = {}
    for row in rows:
        if made is not None and row.output not in made.get(row.id, ()):
            continue
        found = difference(row.columns, said[row.id].get(row.output, ()))
        if found:
            breaches.setdefault(row.id, []).append(f"the contract of dataset {row.dataset} is broken: {found}")
    if breaches:
        raise ContractBroken({id_: "; ".join(found) for id_, found in breaches.items()})


async def keep_schemas(tx: Transaction, reported: Iterable[Columns]) -> None:
    """Remember what columns these hashes stand for."""
    found = {schema_hash(columns): columns for columns in reported}
    listed = [{"hash": hashed, "columns": columns} for hashed, columns in sorted(found.items())]
    await tx.execute("keep_schemas", schemas=jsonb(listed))
