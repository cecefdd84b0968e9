"""Limits as rows of a table: what a CSV holds, what a change of many at once makes, and what a file as code lists.

Rules:
- A row names its scope: a department (slug), a person (e-mail address), both, a model, or none: the company.
- Its ceilings are the whole of that limit: an empty cell or "none" sets none, and a row without any removes the limit.
- A row in which nothing at all stands is skipped, because spreadsheets leave such rows behind: what removes the
  company's limit is a "none".
- A scope that no row names is left alone, unless the rows are said to be all there is (`whole`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from chatgrid.accounts.models import User
from chatgrid.console.recording import snapshot
from chatgrid.console.wanted.changes import Change, Refused, changed, sentences_of
from departments.limits.models import CEILINGS, PERSON_CEILINGS, Limit
from departments.models import Department, Organization

SCOPE = ("department", "person", "model")
FIELDS = (*CEILINGS, *PERSON_CEILINGS)
COLUMNS = (*SCOPE, *FIELDS)
MOST_ROWS = 10_000
LONGEST_CELL = 1_000
NONE = "none"
# a spreadsheet takes a cell that begins so for a formula
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")

Row = Mapping[str, Any]
Scope = tuple[Any, Any, str]


@dataclass
class Context:
    """The organization whose limits these are, with what rows may name."""

    organization: Organization
    reason: str
    departments: dict[str, Department] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mine = Department.objects.filter(organization=self.organization)
        self.departments = {each.slug: each for each in mine} | self.departments

    def people(self, rows: Iterable[Row]) -> dict[str, User]:
        wanted = {_text(row.get("person")).lower() for row in rows} - {""}
        found = User.objects.filter(organization=self.organization, is_superuser=False, email__in=wanted)
        return {person.email: person for person in found}


def plan_limits(context: Context, rows: Sequence[Row], *, whole: bool = False, first: int = 2) -> list[Change]:
    """What makes the limits as the rows say. Raises Refused, with every problem and its row.

    `first` is the number of the first row: 2 as a spreadsheet counts, with the names in row 1.
    """
    people, known = context.people(rows), _known(context.organization)
    problems: list[str] = []
    changes: list[Change] = []
    seen: dict[Scope, int] = {}
    for number, row in enumerate(rows, first):
        if not any(map(_text, row.values())):
            continue
        place = f"row {number}"
        try:
            limit = _limit(context, row, people, known)
        except Refused as refused:
            problems += [f"{place}: {each}" for each in refused.problems]
            continue
        scope = _scope(limit)
        if scope in seen:
            problems.append(f"{place}: {describe(limit)} is in row {seen[scope]} already.")
            continue
        seen[scope] = number
        try:
            changes += filter(None, [_change(context, limit, known.get(scope))])
        except ValidationError as error:
            problems += sentences_of(error, f"{place}, {describe(limit)}")
    if problems:
        raise Refused(problems)
    if whole:
        changes += [_removal(limit) for scope, limit in known.items() if scope not in seen]
    return changes


def describe(limit: Limit) -> str:
    """What a limit is for, in words."""
    if limit.model:
        return f"model {limit.model} in {limit.department or 'the company'}"
    if limit.person:
        return f"{limit.person.email}" + (f" in {limit.department}" if limit.department else "")
    return f"department {limit.department}" if limit.department else "the company"


def rows_of(limits: QuerySet[Limit]) -> Iterator[dict[str, Any]]:
    """The limits as rows, only what is set."""
    for limit in limits.select_related("department", "person").order_by("person__email", "department__slug", "model"):
        scope = {
            "department": limit.department.slug if limit.department else "",
            "person": limit.person.email if limit.person else "",
            "model": limit.model,
        }
        values = {name: getattr(limit, name) for name in FIELDS}
        yield {name: value for name, value in {**scope, **values}.items() if value not in {None, ""}}


def write_csv(limits: QuerySet[Limit]) -> str:
    """A CSV that `read_csv` takes back."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="")
    writer.writeheader()
    for row in rows_of(limits):
        writer.writerow({name: _guarded(str(value)) for name, value in row.items()})
    return out.getvalue()


def read_csv(text: str) -> list[dict[str, str]]:
    """The rows of a CSV with commas, semicolons or tabs, as spreadsheets write it. Raises Refused."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if lines.startswith("sep="):  # Excel's own way of naming the sign between the cells
        lines = lines.partition("\n")[2]
    if not lines.strip():
        raise Refused(["The file is empty."])
    if "\x00" in lines:
        raise Refused(["The file is no table. Save it as “CSV UTF-8”."])
    first = lines.partition("\n")[0]
    table = csv.reader(io.StringIO(lines), delimiter=next((sign for sign in ";\t" if sign in first), ","), strict=True)
    try:
        names = _names(next(table))
        return [_row(names, cells, number) for number, cells in enumerate(_at_most(table), 2)]
    except csv.Error as error:
        told = f"line {table.line_num}: this cannot be read as cells ({error}). Is there a single quotation mark?"
        raise Refused([told]) from None


def _names(cells: Sequence[str]) -> list[str]:
    """The columns; what a spreadsheet leaves empty to the right of them is cut off."""
    names = [cell.strip().lower() for cell in cells]
    while names and not names[-1]:
        names.pop()
    if unknown := [name or "(empty)" for name in names if name not in COLUMNS]:
        raise Refused([f"Unknown column: {', '.join(unknown)}. Known are {', '.join(COLUMNS)}."])
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Refused([f"This column is there twice: {', '.join(twice)}."])
    return names


def _at_most(table: Iterable[list[str]]) -> Iterator[list[str]]:
    for number, cells in enumerate(table, 1):
        if number > MOST_ROWS:
            raise Refused([f"At most {MOST_ROWS:,} rows at once."])
        # the csv module's own bound is one for the whole process, and others move it
        if any(len(cell) > LONGEST_CELL for cell in cells):
            raise csv.Error(f"a cell has more than {LONGEST_CELL:,} characters")
        yield cells


def _row(names: Sequence[str], cells: list[str], number: int) -> dict[str, str]:
    if not any(cell.strip() for cell in cells):
        return {}
    if len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
        raise Refused([f"row {number}: it has another number of cells than the first row."])
    return {name: _unguarded(cell) for name, cell in zip(names, cells, strict=False)}


def _known(organization: Organization) -> dict[Scope, Limit]:
    rows = Limit.objects.filter(organization=organization).select_related("department", "person", "organization")
    return {_scope(limit): limit for limit in rows}


def _scope(limit: Limit) -> Scope:
    return (limit.department_id, limit.person_id, limit.model)


def _limit(context: Context, row: Row, people: Mapping[str, User], known: Mapping[Scope, Limit]) -> Limit:
    """The limit that a row names, with the row's ceilings, not saved. Raises Refused."""
    if unknown := sorted(map(str, row.keys() - set(COLUMNS))):
        raise Refused([f"unknown: {', '.join(unknown)}. Known are {', '.join(COLUMNS)}."])
    slug, email, model = (_text(row.get(name)) for name in SCOPE)
    problems = []
    if slug and slug not in context.departments:
        problems.append(f"there is no department {slug}. Write its short name, as in its address.")
    if email and email.lower() not in people:
        problems.append(f"there is no person {email}.")
    values = _values(row, problems)
    if problems:
        raise Refused(problems)
    scope = {
        "organization": context.organization,
        "department": context.departments.get(slug),
        "person": people.get(email.lower()),
        "model": model,
    }
    limit = Limit(**scope, **values, reason=context.reason)
    present = known.get(_scope(limit))
    if present is not None:
        limit.pk, limit._state.adding = present.pk, False
    return limit


def _values(row: Row, problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in FIELDS:
        text = "".join(_text(row.get(name)).replace("_", "").split())  # also the narrow blanks of 10 000
        if not text or text.lower() == NONE:
            continue
        try:
            values[name] = Limit._meta.get_field(name).to_python(text)  # type: ignore[union-attr]
        except ValidationError:
            problems.append(f"{name}: {text} is no number. Write it as in {'12.50' if 'money' in name else '1500'}.")
    return values


def _change(context: Context, limit: Limit, present: Limit | None) -> Change | None:
    if all(getattr(limit, name) is None for name in FIELDS):
        return _removal(present) if present else None
    if limit.model:
        # a department of the same file is not in the database yet
        limit.full_clean(exclude={"department"} if limit.department and limit.department._state.adding else None)
    else:
        # whose it is was looked up for all rows at once: asking the database again for each costs minutes
        limit.full_clean(exclude={"organization", *SCOPE}, validate_unique=False, validate_constraints=False)
    return changed(limit, describe(limit), snapshot(present) if present else None)


def _removal(limit: Limit) -> Change:
    return Change(limit, describe(limit), snapshot(limit), None)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _guarded(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _unguarded(text: str) -> str:
    text = text.strip()
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA) else text
