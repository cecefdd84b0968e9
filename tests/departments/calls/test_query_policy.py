"""What of a question the record keeps: the department decides, and what it does not want is nowhere in the record."""

from __future__ import annotations

import hashlib
import time

import pytest
from celery import current_app

from audit.models import AuditText
from departments.calls import query_policy
from departments.calls.caller import CallFailed
from departments.calls.personal_data import redact
from departments.calls.query_policy import digest_of
from departments.keys.reader import secret_cache
from departments.keys.vaults import VaultUnavailable
from departments.models import QueryPolicy
from departments.tasks import make_pepper
from tests.company import Company, give_key
from tests.departments.calls.calling import ask, events, whole
from tests.provider import Provider


def ready(company: Company, policy: QueryPolicy) -> None:
    give_key(company.hr)
    company.hr.query_policy = policy
    company.hr.save(update_fields=["query_policy"])
    for department in (company.hr, company.finance):
        make_pepper(str(department.pk))  # as the rotator does


def kept_of(company: Company) -> list[AuditText]:
    return list(AuditText.objects.filter(event_id__in=[event.id for event in events(company)]))


async def test_the_full_text_is_kept_apart_under_its_salted_hash(company: Company, provider: Provider) -> None:
    ready(company, QueryPolicy.FULL)
    question = ask(company)
    await whole(question)
    (kept,) = kept_of(company)
    assert kept.text == question.question
    expected = hashlib.sha256(bytes(kept.salt) + kept.text.encode()).hexdigest()
    assert {event.query_hash for event in events(company)} == {expected}


async def test_a_keyed_hash_keeps_no_text_and_is_found_by_hashing_the_searched_text(
    company: Company, provider: Provider
) -> None:
    ready(company, QueryPolicy.HASHED)
    question = ask(company)
    await whole(question)
    assert kept_of(company) == []
    searched = await digest_of(company.hr, f"  {question.question.upper()} ")
    assert {event.query_hash for event in events(company)} == {searched}
    assert searched.startswith("hmac-sha256:")
    assert searched != await digest_of(company.finance, question.question)
    assert searched != await digest_of(company.hr, question.question + " more")


async def test_without_its_key_there_is_no_hash_and_no_call(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(company, QueryPolicy.HASHED)
    name = query_policy.secret_name(company.hr)
    read = secret_cache().get

    async def away(asked: str, epoch: int) -> object:
        if asked == name:
            raise VaultUnavailable("away")
        return await read(asked, epoch)

    monkeypatch.setattr(secret_cache(), "get", away)
    with pytest.raises(CallFailed):
        await whole(ask(company))
    assert [event.details["reason"] for event in events(company)] == ["pepper_unavailable"]
    assert kept_of(company) == []


async def test_the_web_asks_the_rotator_for_a_pepper_and_writes_none(
    company: Company, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_key(company.hr)
    company.hr.query_policy = QueryPolicy.HASHED
    company.hr.save(update_fields=["query_policy"])
    asked: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, arguments, retry: asked.append((name, arguments)))
    with pytest.raises(CallFailed):
        await whole(ask(company))
    assert asked == [("departments.tasks.make_pepper", (str(company.hr.pk),))]
    for name, arguments in asked:
        current_app.tasks[name](*arguments)
    await whole(ask(company))
    assert [event.query_hash for event in events(company)][-1].startswith("hmac-sha256:")


async def test_a_policy_that_changes_in_the_middle_of_a_month_counts_from_the_next_question_on(
    company: Company, provider: Provider
) -> None:
    ready(company, QueryPolicy.FULL)
    await whole(ask(company))
    company.hr.query_policy = QueryPolicy.HASHED
    await company.hr.asave(update_fields=["query_policy"])
    await whole(ask(company))
    hashes = [event.query_hash for event in events(company)]
    assert [each.startswith("hmac-sha256:") for each in hashes] == [False, False, True, True]
    (kept,) = kept_of(company)
    assert hashlib.sha256(bytes(kept.salt) + kept.text.encode()).hexdigest() == hashes[0] == hashes[1]


async def test_a_redacted_text_is_kept_without_personal_data(company: Company, provider: Provider) -> None:
    ready(company, QueryPolicy.REDACTED)
    question = ask(company, question="Write to mara.lind@acme.example about DE89 3704 0044 0532 0130 00, please.")
    await whole(question)
    (kept,) = kept_of(company)
    assert kept.text == "Write to [e-mail] about [account], please."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b+c@sub.acme.example!", "[e-mail]!"),
        ("IBAN GB29NWBK60161331926819.", "IBAN [account]."),
        ("GB29NWBK60161331926818 fails its check", "GB29NWBK60161331926818 fails its check"),
        ("card 4111 1111 1111 1111", "card [card]"),
        ("order 4111 1111 1111 1112", "order 4111 1111 1111 1112"),
        ("call +49 30 901820-0 now", "call [phone] now"),
        ("call 0151/23456789", "call [phone]"),
        ("in 2026 we had 1200 visits on 12.05.2026", "in 2026 we had 1200 visits on 12.05.2026"),
        ("§ 12 para. 3, invoice 20260512-77", "§ 12 para. 3, invoice 20260512-77"),
        ("écris à élodie.brûlé@société.example, tél. 06 12 34 56 78", "écris à [e-mail], tél. [phone]"),
        ("Überweise auf de89 3704 0044 0532 0130 00 bitte", "Überweise auf [account] bitte"),
        ("请打电话13812345678或邮件：li@公司.example", "请打电话[phone]或邮件：[e-mail]"),
        ("a ES91 2100 0418 4502 0005 1332 a casa, por favor", "a [account] a casa, por favor"),
        ("口座DE89370400440532013000に", "口座[account]に"),
        ("اتصل على ٠٠٤٩٣٠٩٠١٨٢٠٠ غدا", "اتصل على [phone] غدا"),
        ("позвони +7 (495) 123-45-67 или 8 вечера", "позвони [phone] или 8 вечера"),
        ("メールは mara＠acme．example です", "メールは [e-mail] です"),
        ("call (415) 555-2671 or 415-555-2671", "call [phone] or [phone]"),
        ("версия 2026.11.23, пункт 12.3, 1 000 000 рублей", "версия 2026.11.23, пункт 12.3, 1 000 000 рублей"),
        ("第13812345678902号", "第13812345678902号"),
        ("SSN 536-90-4399, not 900-12-3456", "SSN [identity number], not 900-12-3456"),
        ("AHV 756.9217.0769.85 oder 756.9217.0769.84", "AHV [identity number] oder 756.9217.0769.84"),
        ("CPF 390.533.447-05", "CPF [identity number]"),
        ("sécu 2 95 10 99 126 111 93.", "sécu [identity number]."),
        ("codice RCCMNL83S18D969H qui", "codice [identity number] qui"),
        ("DNI 54362315-K, NIE X-2482300-W", "DNI [identity number], NIE [identity number]"),
        ("part 54362315-A, order 295109912611195", "part 54362315-A, order 295109912611195"),
        ("sk-" + "proj-" + "a" * 40, "[key]"),
    ],
)
def test_patterns_find_what_has_a_form_and_leave_what_has_not(text: str, expected: str) -> None:
    assert redact(text) == expected


REPEATED = [
    "a",
    "a@",
    "1 ",
    "+1-",
    "DE89 ",
    "a.",
    "00 1(",
    "sk-",
    "(415) ",
    "٠٠٤",
    "138",
    "de89 ",
    "536-90-",
    "1 23 45 ",
]


@pytest.mark.parametrize("unit", REPEATED)
def test_no_text_takes_long(unit: str) -> None:
    started = time.thread_time()  # of this thread alone: a busy machine makes nobody quadratic
    redact(unit * (100_000 // len(unit)))
    assert time.thread_time() - started < 1.0
