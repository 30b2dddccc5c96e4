"""What is wrong with a document, gathered while compiling so that a user sees all of it at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.errors import PermanentError


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: in which object, at which field, with which value, and what to do about it.

    `between`: it is so among the objects of a set, and another one that is on its way may mend it. `absent`: what is
    wrong is that a name is not known, which a further object may bring also where none is known to come.
    """

    object: str
    path: str
    value: str
    message: str
    between: bool = False
    absent: bool = False

    def __str__(self) -> str:
        """`DAG flights: spec.jobs[clean].inputs[0].from.job "cleen": no job of this name; …`."""
        value = f' "{self.value}"' if self.value else ""
        return f"{self.object}: {self.path}{value}: {self.message}"


class CompileError(PermanentError):
    """A document that cannot be compiled, with every problem in it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass
class Problems:
    """Collects the problems of `about`, one object such as `DAG flights`; compile raises them together at its end."""

    about: str
    found: list[Problem] = field(default_factory=list)

    def of(self, about: str) -> Problems:
        """Those of another object, collected in the same place."""
        return Problems(about, self.found)

    def add(self, path: str, value: object, message: str, *, between: bool = False, absent: bool = False) -> None:
        """Note that `value` at `path` is wrong; `message` ends with the way out. Long values are cut."""
        text = "" if value is None else str(value)
        cut = text if len(text) <= 80 else text[:77] + "..."
        self.found.append(Problem(self.about, path, cut, message, between or absent, absent))

    def raise_if_any(self) -> None:
        """CompileError if anything was found."""
        if self.found:
            raise CompileError(tuple(self.found))
