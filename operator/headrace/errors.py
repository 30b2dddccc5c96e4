"""The errors that decide what happens next: every layer raises these, the edges only look at the base class.

Foreign exceptions (psycopg's, the API client's) are translated where they arise; what is not a `HeadraceError` is a
defect and ends the process.
"""

from __future__ import annotations


class HeadraceError(Exception):
    """Base of all errors of the domain."""


class TemporaryError(HeadraceError):
    """What may go well when tried again: Postgres or the API server away, a lost race. Retried with backoff."""


class PermanentError(HeadraceError):
    """What stays wrong until somebody changes something: told, and looked at again when that happens, or seldom."""


class TimeIsUp(TemporaryError):
    """A wait that its caller bounded is over; what was waited for goes on."""


class LostLeadership(HeadraceError):
    """Another operator has raised the epoch: this process must stop writing and exit."""
