"""The demo company keeps what it promises: people, documents of every format, and questions whose answers are there."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import docx
import pypdfium2
import pytest
import time_machine
from selectolax.lexbor import LexborHTMLParser as HTMLParser

from chatgrid.dev.demo import render as rendering
from chatgrid.dev.demo.company import COMPANIES, QUILLMERE, TARNHOLM, Company
from chatgrid.dev.demo.render import HANDBOOK, handbook, read_source, render

SOURCES = [path for company in COMPANIES for _, path in handbook(company.slug)]
QUESTIONS: list[dict[str, Any]] = [
    json.loads(line) for line in (HANDBOOK.parent / "questions.jsonl").read_text(encoding="utf-8").splitlines()
]
EDITIONS = [
    ("hr", "remote-work-2025", "remote-work-2026"),
    ("it", "password-and-sign-in-2024", "sign-in-standard-2026"),
    ("finance", "travel-policy-2025", "travel-policy-2026"),
    ("onboarding", "buddy-scheme-2025", "buddy-scheme-2026"),
]
QUOTED = [question for question in QUESTIONS if question["kind"] != "unanswerable"]


def folded(text: str) -> str:
    return " ".join(text.split())


def text_of_pdf(content: bytes) -> str:
    pdf = pypdfium2.PdfDocument(content)
    pages = [page.get_textpage().get_text_range() for page in pdf]
    pdf.close()
    return "\n".join(pages)


def text_of_docx(content: bytes) -> str:
    word = docx.Document(io.BytesIO(content))
    cells = [cell.text for table in word.tables for row in table.rows for cell in row.cells]
    return "\n".join([paragraph.text for paragraph in word.paragraphs] + cells)


def text_of_html(content: bytes) -> str:
    body = HTMLParser(content.decode()).body
    assert body is not None
    return body.text(separator=" ")


READERS = {".pdf": text_of_pdf, ".docx": text_of_docx, ".html": text_of_html, ".md": bytes.decode}


@cache
def rendered_text(path: Path) -> str:
    document = render(path)
    return folded(READERS[Path(document.filename).suffix](document.content))


def source_at(department: str, stem: str) -> Path:
    return HANDBOOK / TARNHOLM.slug / department / f"{stem}.md"


def answering_department(question: dict[str, Any]) -> str:
    return str(question.get("answer_department", question["department"]))


# People


def test_the_first_company_has_six_people_with_one_in_two_departments_one_it_and_one_auditor() -> None:
    assert len(TARNHOLM.people) == 6
    assert sum(len(person.memberships) == 2 for person in TARNHOLM.people) == 1
    roles = Counter(person.organization_role for person in TARNHOLM.people)
    assert roles == {"member": 4, "it": 1, "auditor": 1}


def test_the_first_company_has_its_four_departments_and_the_second_is_small() -> None:
    assert [plan.slug for plan in TARNHOLM.departments] == ["hr", "it", "finance", "onboarding"]
    assert len(QUILLMERE.departments) == len(QUILLMERE.people) == 2


@pytest.mark.parametrize("company", COMPANIES, ids=lambda company: company.slug)
def test_every_membership_names_a_department_of_the_same_company(company: Company) -> None:
    departments = {plan.slug for plan in company.departments}
    assert {slug for person in company.people for slug, _ in person.memberships} <= departments


@pytest.mark.parametrize("company", COMPANIES, ids=lambda company: company.slug)
def test_every_department_has_an_admin(company: Company) -> None:
    administered = {slug for person in company.people for slug, role in person.memberships if role == "admin"}
    assert administered == {plan.slug for plan in company.departments}


def test_the_companies_share_no_address_and_use_only_reserved_domains() -> None:
    assert len({company.email_domain for company in COMPANIES}) == len(COMPANIES)
    for company in COMPANIES:
        assert company.email_domain.endswith(".example")
        assert all(person.email.endswith("@" + company.email_domain) for person in company.people)


# Documents


def test_the_first_company_has_ten_documents_a_department_in_four_formats() -> None:
    documents = list(handbook(TARNHOLM.slug))
    assert Counter(department for department, _ in documents) == {"hr": 10, "it": 10, "finance": 10, "onboarding": 10}
    assert Counter(read_source(path).format for _, path in documents) == {"md": 12, "html": 8, "pdf": 12, "docx": 8}


def test_the_documents_are_of_real_length_and_some_are_long() -> None:
    lengths = [len(read_source(path).body.split()) for _, path in handbook(TARNHOLM.slug)]
    assert min(lengths) > 500
    assert max(lengths) < 3_000
    assert sum(length > 1_900 for length in lengths) == 3


def test_no_sentence_is_used_twice() -> None:
    prose = " ".join(read_source(path).body for path in SOURCES)
    sentences = Counter(re.findall(r"[^.?!|\n]{40,}[.?!]", prose))
    assert [sentence for sentence, times in sentences.items() if times > 1] == []


def test_the_second_company_has_four_documents_in_departments_of_its_own() -> None:
    documents = list(handbook(QUILLMERE.slug))
    assert len(documents) == 4
    assert {department for department, _ in documents} == {plan.slug for plan in QUILLMERE.departments}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_document_becomes_a_file_that_holds_its_title_and_every_heading(path: Path) -> None:
    source, document = read_source(path), render(path)
    assert document.filename == f"{path.stem}.{source.format}"
    assert document.title == source.title
    headings = [line.lstrip("# ") for line in source.body.splitlines() if line.startswith("## ")]
    assert headings
    assert [heading for heading in [source.title, *headings] if heading not in rendered_text(path)] == []


@pytest.mark.parametrize("name", ["sites-and-getting-in", "new-starter-faq", "probation", "starter-checklist-form"])
def test_the_same_source_gives_the_same_bytes_years_later(name: str) -> None:
    path = source_at("onboarding", name)
    with time_machine.travel("2026-03-01", tick=False):
        first = render(path).content
    with time_machine.travel("2033-05-18", tick=False):
        assert render(path).content == first


def test_metadata_says_title_and_a_date_before_the_demo_is_tried() -> None:
    word = docx.Document(io.BytesIO(render(source_at("onboarding", "starter-checklist-form")).content))
    assert word.core_properties.created == rendering.FIXED_DATE
    pdf = pypdfium2.PdfDocument(render(source_at("onboarding", "probation")).content)
    metadata = pdf.get_metadata_dict()
    pdf.close()
    assert metadata["Title"] == "Probation, how it works and what to expect"
    assert metadata["CreationDate"].startswith("D:20260105")


def test_a_long_pdf_has_several_numbered_pages_with_bookmarks() -> None:
    pdf = pypdfium2.PdfDocument(render(source_at("hr", "pay-and-grades-2026")).content)
    pages = len(pdf)
    assert pages >= 3
    assert f"Page 2 of {pages}" in pdf[1].get_textpage().get_text_range()
    assert "5. Company bonus" in [bookmark.get_title() for bookmark in pdf.get_toc()]
    pdf.close()


def test_a_word_document_has_real_headings_and_tables() -> None:
    word = docx.Document(io.BytesIO(render(source_at("finance", "field-crew-allowances")).content))
    headings = [p.text for p in word.paragraphs if p.style is not None and p.style.name == "Heading 2"]
    assert "Lodging" in headings
    assert [cell.text for cell in word.tables[0].rows[1].cells][1:] == ["EUR 61", "EUR 30"]


def test_a_web_page_has_real_headings_and_tables() -> None:
    tree = HTMLParser(render(source_at("finance", "month-end-calendar")).content.decode())
    assert [node.text() for node in tree.css("h1")] == ["Month-end close, calendar and checklist"]
    assert [node.text() for node in tree.css("table th")][:4] == ["Day", "Time", "What", "Who"]
    assert [node.text() for node in tree.css("table tr:nth-child(2) td")][:2] == ["WD-1", "12:00"]


# Sources that cannot be rendered


def write(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_small_source_is_rendered(tmp_path: Path) -> None:
    document = render(write(tmp_path, "---\ntitle: Small\nformat: pdf\n---\nSome \u201cwords\u201d \u2013 here.\n"))
    assert 'Some "words" - here.' in text_of_pdf(document.content)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("Some words.\n", "start the file with a front matter"),
        ("---\ntitle: Small\n---\nSome words.\n", "give exactly a title and a format"),
        ("---\ntitle: Small\nformat: odt\n---\nSome words.\n", "one of md, html, pdf, docx"),
        ("---\ntitle: Small\nformat: pdf\n---\nSome \u6c34 words.\n", "can only show Latin-1"),
        ("---\ntitle: Small\nformat: docx\n---\n> Some words.\n", "found blockquote"),
        ("---\ntitle: Small\nformat: docx\n---\n- Some\n  - words\n", "give every list item exactly one paragraph"),
    ],
)
def test_it_refuses_a_source_and_names_file_and_remedy(tmp_path: Path, text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=rf"page\.md: .*{advice}"):
        render(write(tmp_path, text))


def test_a_paragraph_never_runs_over_a_page_break(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {n} begins " + "and goes on " * 40 + f"until end {n}." for n in range(30)]
    path = write(tmp_path, "---\ntitle: Long\nformat: pdf\n---\n" + "\n\n".join(paragraphs) + "\n")
    pdf = pypdfium2.PdfDocument(render(path).content)
    pages = [folded(page.get_textpage().get_text_range()) for page in pdf]
    pdf.close()
    assert len(pages) > 2
    for paragraph in paragraphs:
        assert sum(paragraph in page for page in pages) == 1


# Questions


def test_there_are_sixty_questions_of_the_promised_kinds_spread_over_the_departments() -> None:
    kinds = Counter(question["kind"] for question in QUESTIONS)
    assert kinds == {"keyword": 18, "paraphrase": 18, "version": 8, "unanswerable": 8, "other_department": 8}
    assert Counter(question["department"] for question in QUESTIONS) == dict.fromkeys(
        ("hr", "it", "finance", "onboarding"), 15
    )
    assert len({question["id"] for question in QUESTIONS}) == len({q["question"] for q in QUESTIONS}) == 60


@pytest.mark.parametrize("question", QUOTED, ids=lambda question: question["id"])
def test_a_quote_stands_on_one_line_of_its_source_and_in_the_rendered_file(question: dict[str, Any]) -> None:
    source, passage = source_at(answering_department(question), question["document"]), question["passage"]
    assert 6 <= len(passage.split()) <= 25
    assert any(passage in line for line in read_source(source).body.splitlines())
    assert passage in rendered_text(source)


@pytest.mark.parametrize("question", QUOTED, ids=lambda question: question["id"])
def test_a_quote_stands_in_exactly_one_document_of_the_company(question: dict[str, Any]) -> None:
    holders = [
        (department, path.stem)
        for department, path in handbook(TARNHOLM.slug)
        if question["passage"] in folded(read_source(path).body)
    ]
    assert holders == [(answering_department(question), question["document"])]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["id"])
def test_only_a_question_of_another_department_names_one(question: dict[str, Any]) -> None:
    assert question["answer"]
    if question["kind"] == "other_department":
        assert question["answer_department"] in {"hr", "it", "finance", "onboarding"} - {question["department"]}
    else:
        assert "answer_department" not in question


def test_an_unanswerable_question_has_no_document_and_no_quote() -> None:
    unanswerable = [question for question in QUESTIONS if question["kind"] == "unanswerable"]
    assert {(question["document"], question["passage"]) for question in unanswerable} == {(None, None)}


@pytest.mark.parametrize(("department", "older", "newer"), EDITIONS, ids=lambda part: part)
def test_a_version_question_is_answered_by_the_edition_that_says_it_replaces_the_other(
    department: str, older: str, newer: str
) -> None:
    answers = [q["document"] for q in QUESTIONS if q["kind"] == "version" and q["department"] == department]
    assert answers == [newer, newer]
    replaced_year = older[-4:]
    assert re.search(rf"replaces the .* of {replaced_year}", read_source(source_at(department, newer)).body)
    assert replaced_year in read_source(source_at(department, older)).title


def test_the_package_finds_its_handbook_wherever_it_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert rendering.HANDBOOK.is_absolute()
    assert len(list(handbook(TARNHOLM.slug))) == 40
