"""Which columns of its inputs each column of a step is made from, read off the step's own SQL by sqlglot.

Headrace only takes what a task says. Here nobody writes it down: the statement that makes the table is what is told.
"""

from collections.abc import Mapping
from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope

Told = dict[str, list[tuple[str, str]]]
"""Column to the (input, column) pairs that it is made from."""


def told(text: str, table: str, inputs: Mapping[str, tuple[str, Mapping[str, str]]]) -> Told:
    """What the columns of `table`, which the SQL makes, are made from.

    `inputs`: the name of a table that the SQL reads, or of the parameter of the file that it reads, to the input that
    it is and to its columns with their types. What is read beside these (a file of the package) is no input.
    """
    known = tuple((name, given, tuple(columns.items())) for name, (given, columns) in sorted(inputs.items()))
    return _told(text, table, known)


@cache
def _told(text: str, table: str, inputs: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]) -> Told:
    statements = [one for one in sqlglot.parse(text, dialect="duckdb") if isinstance(one, exp.Create)]
    macros = {one.this.this.name.lower(): one for one in statements if one.kind == "MACRO"}
    made = next(one for one in statements if one.kind == "TABLE" and one.this.name == table)
    query = _named(_expanded(made.expression, macros), {name for name, _, _ in inputs})
    schema = {name: dict(columns) for name, _, columns in inputs}
    query = qualify(query, schema=schema, dialect="duckdb", validate_qualify_columns=False)
    scope, given = build_scope(query), {name: one for name, one, _ in inputs}
    return {
        column: sorted(found)
        for column in query.named_selects
        if (found := _leaves(lineage(column, query, schema=schema, scope=scope, dialect="duckdb"), given))
    }


def _leaves(node: Node, given: Mapping[str, str]) -> set[tuple[str, str]]:
    """The columns of inputs at the ends of a column's tree."""
    return {
        (given[one.expression.name], one.name.rpartition(".")[2].strip('"'))
        for one in node.walk()
        if isinstance(one.expression, exp.Table) and one.expression.name in given
    }


def _expanded(query: exp.Expression, macros: Mapping[str, exp.Create]) -> exp.Expression:
    """The query with the tables that macros make written out."""

    def expand(node: exp.Expression) -> exp.Expression:
        macro = macros.get(node.this.name.lower()) if isinstance(node, exp.Table) and node.this else None
        if macro is None or not isinstance(node.this, exp.Func):
            return node
        arguments = dict(zip((one.name for one in macro.this.expressions), node.this.expressions, strict=True))
        body = macro.expression.transform(
            lambda one: (
                arguments[one.name].copy()
                if isinstance(one, exp.Column) and not one.table and one.name in arguments
                else one
            )
        )
        return exp.Subquery(this=body, alias=exp.TableAlias(this=exp.to_identifier(node.this.name.lower())))

    return query.transform(expand)


def _named(query: exp.Expression, names: set[str]) -> exp.Expression:
    """The query with each file that is an input's named like a table of its own."""

    def name(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Func):
            return node
        for parameter in node.this.find_all(exp.Parameter, exp.Placeholder):
            if parameter.name in names:
                return exp.Table(this=exp.to_identifier(parameter.name), alias=node.args.get("alias"))
        return node

    return query.transform(name)
