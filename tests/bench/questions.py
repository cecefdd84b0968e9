"""`python -m tests.bench.questions`: the demo company's 60 labelled questions, through the whole product.

Each question is asked as an employee asks it: search, call, answer, citations; the provider is the simulator. A
question with an answer is right when a passage that the answer cites holds the labelled quote; a question without one
in this department is right when the answer cites nothing. Nothing here knows what the simulator or the search will do.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from tests.bench import shelf

COMPANY = "tarnholm"
WITHOUT_ANSWER = ("unanswerable", "other_department")


def folded(text: str) -> str:
    """Letters and digits only, so that line ends, tables and Markdown signs do not decide."""
    return "".join(letter for letter in text.lower() if letter.isalnum())


def questions() -> list[dict[str, Any]]:
    from chatgrid.dev.demo import render

    path = Path(render.__file__).parent / "questions.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def prepare() -> None:
    """The demo company with its handbook read, as `make run` has it after a minute."""
    from chatgrid.dev.seed import seed
    from departments.documents.ingest import ingest_version
    from departments.documents.store import open_store
    from departments.loop import run
    from departments.models import Department

    seed()

    async def read(department: Department) -> None:
        async with open_store(department) as store:
            page = await store.list_documents(limit=1_000)
        for document in page.documents:
            await ingest_version(department, document.latest.id)

    for department in Department.objects.select_related("organization").filter(organization__slug=COMPANY):
        run(read(department))


def exchanges(rows: list[dict[str, Any]]) -> list[Any]:
    """Each question as a member of its department would ask it."""
    from chatgrid.chat.ask import Exchange
    from departments.models import Membership

    memberships = Membership.objects.select_related("user", "department__organization")
    members = {each.department.slug: each for each in memberships.filter(department__organization__slug=COMPANY)}
    asked = [(members[row["department"]], row["question"]) for row in rows]
    return [Exchange(member.user, member.department, question, "") for member, question in asked]


async def ask_all(rows: list[dict[str, Any]], made: list[Any]) -> list[bool]:
    from chatgrid.chat.ask import ask

    for exchange in made:
        async for _ in ask(exchange):
            pass
    return [is_right(row, exchange) for row, exchange in zip(rows, made, strict=True)]


def is_right(row: dict[str, Any], exchange: Any) -> bool:
    citations = exchange.answer.citations
    if row["kind"] in WITHOUT_ANSWER:
        return not citations
    cited = [exchange.found[citation["number"] - 1] for citation in citations]
    return any(folded(row["passage"]) in folded(found.text) for found in cited)


def main() -> None:
    from chatgrid.dev.openai_simulator import server

    with server.running() as simulator:
        os.environ["CHATGRID_OPENAI_BASE_URL"] = simulator.base_url
        os.environ["CHATGRID_SIMULATED"] = "true"
        with shelf.product():
            prepare()
            from departments.limits.models import Limit
            from departments.loop import run

            Limit.objects.all().delete()
            rows = questions()
            right = run(ask_all(rows, exchanges(rows)))
    asked, good = (
        Counter(row["kind"] for row in rows),
        Counter(row["kind"] for row, fine in zip(rows, right, strict=True) if fine),
    )
    for kind in asked:
        print(f"{kind:<18} {good[kind]:>2} of {asked[kind]}")
    print(f"{'all':<18} {sum(right):>2} of {len(rows)}  ({sum(right) / len(rows):.0%})")
    for row, fine in zip(rows, right, strict=True):
        if not fine:
            print(f"  wrong: {row['id']} [{row['department']}, {row['kind']}] {row['question']}")


if __name__ == "__main__":
    main()
