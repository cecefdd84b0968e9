"""The tamper matrix: every change, made with full rights over the database, is found, and the first bad place is named.

The record under attack: seals 1 (empty), 2 (events 1-4), 3 (events 5-8), 4 (events 9-12), 5 (events 13 and
14: questions with their texts).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from audit.events import Event
from audit.findings import Kind, Severity
from audit.rollups import advance, rebuild
from audit.seals import roll_key
from audit.signing import Ed25519Signer
from audit.writer import Entry, KeptText, record_with
from chatgrid.dev.services.bootstrap import APP, SEALER
from tests.audit.places import Record, copy_of, new_record

KEEP = "INSERT INTO audit_text (event_id, salt, text) VALUES (%s, %s, %s)"
EVENT_13 = "(SELECT event_id FROM audit_leaf WHERE seq = 13)"
EVENT_6 = "(SELECT event_id FROM audit_leaf WHERE seq = 6)"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    with new_record(tmp_path_factory.mktemp("sound")) as record:
        record.seal()
        for _ in range(3):
            record.write(3)
            record.write(event=Event.CALL_ANSWERED, model_asked="gpt-6-luna", tokens_input=800, actor_id=uuid4())
            record.seal()
        with record.as_role(APP) as connection:
            for question in ("Who earns most?", "Who earns least? \u00e9\U0001f600"):
                text, asked = KeptText.of(question), uuid4()
                record_with(connection, Entry(event=Event.CALL_REQUESTED, id=asked, query_hash=text.digest))
                connection.execute(KEEP, [asked, text.salt, text.text])
        record.seal()
        with record.as_role(APP) as connection, connection.cursor() as cursor:
            advance(cursor)
        yield record


@pytest.fixture(scope="module")
def rolled(sound: Record, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Record, Ed25519Signer]]:
    """The same record after its key was exchanged: seal 6 holds the old key's word, seal 7 is the new key's first."""
    with copy_of(sound, tmp_path_factory.mktemp("rolled")) as record:
        old, new = record.signer, Ed25519Signer(secrets.token_bytes(32))
        with record.as_role(SEALER) as connection:
            roll_key(connection, old, new.public_key)
        record.signer = new
        record.seal()
        yield record, old


@pytest.fixture
def record(sound: Record, tmp_path: Path) -> Iterator[Record]:
    with copy_of(sound, tmp_path) as copied:
        assert copied.verify().findings == []
        yield copied


def forged_leaf(record: Record) -> str:
    """A leaf that fits the changed event, as whoever reads our code can compute it."""
    from psycopg import sql

    from audit.leaves import columns, copy_rows, leaf_of_row

    with record.as_role("chatgrid_app") as connection:
        query = sql.SQL("SELECT {} FROM audit_event e WHERE id = " + EVENT_6).format(columns("e"))
        return leaf_of_row(next(copy_rows(connection, query))).hex()


def change_a_row(record: Record) -> None:
    record.tamper(f"UPDATE audit_event SET actor_name = 'Nobody' WHERE id = {EVENT_6}")


def change_the_time_of_a_row(record: Record) -> None:
    record.tamper(f"UPDATE audit_event SET at = at + interval '1 microsecond' WHERE id = {EVENT_6}")


def move_a_row_to_another_month(record: Record) -> None:
    record.tamper(
        f"UPDATE audit_event SET at = at + interval '1 month' WHERE id = {EVENT_6}",
        "UPDATE audit_leaf SET at = at + interval '1 month' WHERE seq = 6",
    )


def change_a_row_of_a_month_that_is_taken_off_meanwhile(record: Record) -> None:
    """The partition's own triggers are gone while it is off, so no switch of the session is needed."""
    month = record.ask("SELECT to_char(min(at), 'YYYY_MM') FROM audit_event")
    record.tamper(
        f"ALTER TABLE audit_event DETACH PARTITION audit_event_{month}",
        f"UPDATE audit_event_{month} SET actor_name = 'Nobody' WHERE id = {EVENT_6}",
        f"ALTER TABLE audit_event ATTACH PARTITION audit_event_{month}"
        f" FOR VALUES FROM ('{month.replace('_', '-')}-01 00:00+00')"
        f" TO (('{month.replace('_', '-')}-01'::date + interval '1 month')::timestamp AT TIME ZONE 'UTC')",
    )


def delete_a_row(record: Record) -> None:
    record.tamper(f"DELETE FROM audit_event WHERE id = {EVENT_6}")


def delete_row_and_leaf(record: Record) -> None:
    record.tamper(f"DELETE FROM audit_event WHERE id = {EVENT_6}", "DELETE FROM audit_leaf WHERE seq = 6")


def change_row_and_leaf(record: Record) -> None:
    change_a_row(record)
    record.tamper(f"UPDATE audit_leaf SET hash = '\\x{forged_leaf(record)}' WHERE seq = 6")


def swap_two_leaves(record: Record) -> None:
    record.tamper("UPDATE audit_leaf SET seq = CASE seq WHEN 6 THEN 7 ELSE 6 END WHERE seq IN (6, 7)")


def move_a_leaf_to_another_seal(record: Record) -> None:
    record.tamper("UPDATE audit_leaf SET seal = 2 WHERE seq = 6")


def remove_a_middle_seal(record: Record) -> None:
    record.tamper("DELETE FROM audit_seal WHERE n = 3")


def remove_a_middle_seal_with_its_rows(record: Record) -> None:
    record.tamper(
        "DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_leaf WHERE seal = 3)",
        "DELETE FROM audit_leaf WHERE seal = 3",
        "DELETE FROM audit_seal WHERE n = 3",
    )


def renumber_over_a_removed_seal(record: Record) -> None:
    remove_a_middle_seal_with_its_rows(record)
    record.tamper(
        "UPDATE audit_leaf SET seq = seq - 4, seal = seal - 1 WHERE seal > 3",
        "UPDATE audit_seal SET n = n - 1, first_seq = first_seq - 4, last_seq = last_seq - 4 WHERE n > 3",
    )


def change_a_seal(record: Record) -> None:
    record.tamper("UPDATE audit_seal SET at = at - interval '1 day' WHERE n = 3")


def change_the_key_that_a_seal_names(record: Record) -> None:
    record.tamper(f"UPDATE audit_seal SET public_key = '\\x{secrets.token_hex(32)}' WHERE n = 3")


def say_that_a_seal_has_more_events_than_anybody_can_read(record: Record) -> None:
    record.tamper("UPDATE audit_seal SET last_seq = 9000000000000000000 WHERE n = 3")


def sign_with_another_key(record: Record) -> None:
    """Rewrite the chain from seal 3 on with a key of one's own; the anchors are not looked at."""
    from dataclasses import replace

    from audit.seals import seals_after

    forger = Ed25519Signer(secrets.token_bytes(32))
    with record.as_role("chatgrid_app") as connection:
        seals = seals_after(connection, 0, 10)
    previous = seals[1]
    for seal in seals[2:]:
        forged = replace(seal, previous=previous.digest, public_key=forger.public_key, signature=b"")
        previous = replace(forged, signature=forger.sign(forged.statement))
        record.tamper(
            f"UPDATE audit_seal SET previous = '\\x{forged.previous.hex()}',"
            f" public_key = '\\x{forger.public_key.hex()}',"
            f" signature = '\\x{previous.signature.hex()}' WHERE n = {seal.n}"
        )
    record.tamper("UPDATE audit_anchor_state SET seal = 0")
    record.anchor.path.write_text("")


def slip_in_a_back_dated_row(record: Record) -> None:
    record.tamper(
        "INSERT INTO audit_event (event, at) VALUES ('account:signed_in', clock_timestamp() - interval '40 days')"
    )


def slip_in_a_row_with_a_leaf(record: Record) -> None:
    slip_in_a_back_dated_row(record)
    record.tamper(
        "INSERT INTO audit_leaf (seq, seal, event_id, at, hash)"
        " SELECT 15, 4, id, at, sha256('x') FROM audit_event ORDER BY at LIMIT 1"
    )


def drop_a_partition(record: Record) -> None:
    month = record.ask("SELECT to_char(min(at), 'YYYY_MM') FROM audit_event")
    record.tamper(f"DROP TABLE audit_event_{month}", f"DROP TABLE audit_leaf_{month}")


def cut_off_the_newest_seals(record: Record) -> None:
    record.tamper(
        "DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_leaf WHERE seal >= 4)",
        "DELETE FROM audit_leaf WHERE seal >= 4",
        "DELETE FROM audit_seal WHERE n >= 4",
    )


def cut_off_and_seal_again(record: Record) -> None:
    cut_off_the_newest_seals(record)
    record.write(4)
    record.seal()
    record.seal()
    record.seal()


def empty_everything(record: Record) -> None:
    record.tamper("DELETE FROM audit_event", "DELETE FROM audit_leaf", "DELETE FROM audit_seal")


def cut_off_the_newest_seals_here_and_outside(record: Record) -> None:
    cut_off_the_newest_seals(record)
    replay_an_old_anchor(record)


def replay_an_old_anchor(record: Record) -> None:
    lines = record.anchor.path.read_text().splitlines(keepends=True)
    record.anchor.path.write_text("".join(lines[:3]))


def change_the_time_that_people_read_at_the_anchor(record: Record) -> None:
    change_the_anchor_s_line(record, 4, at="2020-01-01T00:00:00+00:00")


def announce_nonsense(record: Record) -> None:
    """The application may write events, and must not be able to end every verification with one."""
    record.write(event=Event.MONTH_DROPPED, subject_id="2020_01", details={"seals": [["a", None]]})
    record.seal()


def hide_new_events_behind_the_end_of_an_old_month(record: Record) -> None:
    record.write(event=Event.MONTH_DROPPED, subject_id="2020_01", details={"seals": [[3, 10**12]], "earlier": {}})
    record.seal()
    record.tamper(
        "DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_leaf WHERE seal = 3)",
        "DELETE FROM audit_leaf WHERE seal = 3",
    )


def change_a_sum(record: Record) -> None:
    record.tamper("UPDATE audit_rollup SET calls = calls + 1 WHERE calls = (SELECT max(calls) FROM audit_rollup)")


def take_away_a_person_s_sums(record: Record) -> None:
    record.tamper("DELETE FROM audit_rollup_person WHERE grain = 'month'")


def invent_a_sum_of_another_month(record: Record) -> None:
    record.tamper(
        "INSERT INTO audit_rollup SELECT organization_id, day - 400, department_id, model, calls, refused, estimated,"
        " tokens_input, tokens_cached, tokens_output, tokens_reasoning, cost FROM audit_rollup LIMIT 1"
    )


def say_that_no_seal_was_summed(record: Record) -> None:
    record.tamper("UPDATE audit_rollup_state SET seal = 0")


def change_the_text_of_a_question(record: Record) -> None:
    record.tamper(f"UPDATE audit_text SET text = 'Who earns nothing?' WHERE event_id = {EVENT_13}")


def give_the_text_of_a_question_another_salt(record: Record) -> None:
    record.tamper(f"UPDATE audit_text SET salt = '\\x00' WHERE event_id = {EVENT_13}")


def exchange_the_texts_of_two_questions(record: Record) -> None:
    record.tamper(
        "UPDATE audit_text SET (salt, text) = (SELECT o.salt, o.text FROM audit_text o WHERE o.event_id <>"
        " audit_text.event_id)"
    )


def give_an_event_without_a_question_a_text(record: Record) -> None:
    record.tamper(f"INSERT INTO audit_text (event_id, salt, text) VALUES ({EVENT_6}, '\\x00', 'Who earns most?')")


def say_that_another_asked_it(record: Record) -> None:
    """The text of number 14 becomes that of number 13, whose own is gone."""
    fourteen = EVENT_13.replace("13", "14")
    record.tamper(
        f"DELETE FROM audit_text WHERE event_id = {EVENT_13}",
        f"UPDATE audit_text SET event_id = {EVENT_13} WHERE event_id = {fourteen}",
    )


MATRIX: list[tuple[Callable[[Record], None], Kind, int | None, int | None]] = [
    (change_a_row, Kind.EVENT_CHANGED, 3, 6),
    (change_the_time_of_a_row, Kind.EVENT_MISSING, 3, 6),
    (move_a_row_to_another_month, Kind.EVENT_CHANGED, 3, 6),
    (change_a_row_of_a_month_that_is_taken_off_meanwhile, Kind.EVENT_CHANGED, 3, 6),
    (delete_a_row, Kind.EVENT_MISSING, 3, 6),
    (delete_row_and_leaf, Kind.LEAF_MISSING, 3, 6),
    (change_row_and_leaf, Kind.ROOT, 3, None),
    (swap_two_leaves, Kind.ROOT, 3, None),
    (move_a_leaf_to_another_seal, Kind.LEAF_FOREIGN, 3, 6),
    (remove_a_middle_seal, Kind.SEAL_MISSING, 3, None),
    (remove_a_middle_seal_with_its_rows, Kind.SEAL_MISSING, 3, None),
    (renumber_over_a_removed_seal, Kind.CHAIN, 3, None),
    (change_a_seal, Kind.SIGNATURE, 3, None),
    (change_the_key_that_a_seal_names, Kind.SIGNATURE, 3, None),
    (say_that_a_seal_has_more_events_than_anybody_can_read, Kind.SIGNATURE, 3, None),
    (sign_with_another_key, Kind.KEY, 3, None),
    (slip_in_a_back_dated_row, Kind.UNSEALED, None, None),
    (slip_in_a_row_with_a_leaf, Kind.BEYOND, 6, 15),
    (drop_a_partition, Kind.LEAF_MISSING, 2, 1),
    (cut_off_the_newest_seals, Kind.ANCHOR_MISSING, 4, None),
    (cut_off_and_seal_again, Kind.ANCHOR_DIFFERS, 4, None),
    (cut_off_the_newest_seals_here_and_outside, Kind.CUT_OFF, 4, None),
    (replay_an_old_anchor, Kind.ANCHOR_BEHIND, 4, None),
    (change_the_time_that_people_read_at_the_anchor, Kind.ANCHOR_BEHIND, 4, None),
    (announce_nonsense, Kind.MONTH_UNCLEAR, None, None),
    (hide_new_events_behind_the_end_of_an_old_month, Kind.MONTH_TOO_YOUNG, 3, None),
    (empty_everything, Kind.ANCHOR_MISSING, 1, None),
    (change_the_text_of_a_question, Kind.TEXT_CHANGED, 5, 13),
    (give_the_text_of_a_question_another_salt, Kind.TEXT_CHANGED, 5, 13),
    (exchange_the_texts_of_two_questions, Kind.TEXT_CHANGED, 5, 13),
    (give_an_event_without_a_question_a_text, Kind.TEXT_CHANGED, 3, 6),
    (say_that_another_asked_it, Kind.TEXT_CHANGED, 5, 13),
    (change_a_sum, Kind.SUMS, None, None),
    (take_away_a_person_s_sums, Kind.SUMS, None, None),
    (invent_a_sum_of_another_month, Kind.SUMS, None, None),
    (say_that_no_seal_was_summed, Kind.SUMS, None, None),
]


@pytest.mark.parametrize(("attack", "kind", "seal", "seq"), MATRIX, ids=[row[0].__name__ for row in MATRIX])
def test_an_attack_with_full_rights_is_found(
    record: Record, attack: Callable[[Record], None], kind: Kind, seal: int | None, seq: int | None
) -> None:
    attack(record)
    first = record.verify().first_fault
    assert first is not None
    assert (first.kind, first.seal, first.seq) == (kind, seal, seq)


def test_an_erased_text_leaves_a_record_that_holds(record: Record) -> None:
    with record.as_role(APP) as connection:
        connection.execute(f"DELETE FROM audit_text WHERE event_id = {EVENT_13}")
    assert record.verify().findings == []


WORD_OF_ANOTHER = secrets.token_bytes(64).hex()
ROLLOVER = {
    "the word is taken away": "DELETE FROM audit_seal_key",
    "the word is about another key": f"UPDATE audit_seal_key SET new = '\\x{WORD_OF_ANOTHER[:64]}'",
    "the word is of another key": f"UPDATE audit_seal_key SET old = '\\x{WORD_OF_ANOTHER[:64]}'",
    "the signature is another": f"UPDATE audit_seal_key SET signature = '\\x{WORD_OF_ANOTHER}'",
}


@pytest.mark.parametrize("statement", ROLLOVER.values(), ids=[name.replace(" ", "_") for name in ROLLOVER])
def test_whoever_works_on_the_word_for_a_new_key_is_found_at_its_first_seal(
    rolled: tuple[Record, Ed25519Signer], tmp_path: Path, statement: str
) -> None:
    with copy_of(rolled[0], tmp_path) as record:
        assert record.verify(trusted=[rolled[1].public_key]).findings == []
        record.tamper(statement)
        first = record.verify(trusted=[rolled[1].public_key]).first_fault
    assert first is not None
    assert (first.kind, first.seal) == (Kind.KEY, 7)


def test_the_event_of_a_new_key_is_sealed_like_any_other(rolled: tuple[Record, Ed25519Signer], tmp_path: Path) -> None:
    with copy_of(rolled[0], tmp_path) as record:
        record.tamper("UPDATE audit_event SET details = '{}' WHERE event = 'record:key_changed'")
        first = record.verify(trusted=[rolled[1].public_key]).first_fault
    assert first is not None
    assert (first.kind, first.seal, first.seq) == (Kind.EVENT_CHANGED, 6, 15)


def change_the_anchor_s_line(record: Record, number: int, **changed: object) -> None:
    lines = [json.loads(line) for line in record.anchor.path.read_text().splitlines()]
    lines[number - 1] |= changed
    record.anchor.path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_an_anchor_that_was_changed_or_thinned_out_is_named(record: Record) -> None:
    whole = record.anchor.path.read_text()
    change_the_anchor_s_line(record, 4, root="00" * 32)
    assert found_first(record) == (Kind.ANCHOR_DIFFERS, 4)
    lines = whole.splitlines(keepends=True)
    record.anchor.path.write_text("".join(lines[:2] + lines[3:]))
    assert found_first(record) == (Kind.ANCHOR_BEHIND, 3)
    record.anchor.path.unlink()
    assert found_first(record) == (Kind.ANCHOR_DOWN, None)


def found_first(record: Record) -> tuple[Kind, int | None] | None:
    first = record.verify().first_fault
    return first and (first.kind, first.seal)


def test_without_anchors_cut_off_seals_would_not_be_found(record: Record) -> None:
    """Why anchors are not optional. The sums behind the charts betray it only until they are made again."""
    cut_off_the_newest_seals(record)
    record.tamper("UPDATE audit_anchor_state SET seal = 3")
    assert [each.kind for each in record.verify(anchors=[]).faults] == [Kind.SUMS]
    with record.as_role(APP) as connection, connection.cursor() as cursor:
        rebuild(cursor)
    assert record.verify(anchors=[]).faults == []


def test_a_back_dated_row_that_was_sealed_later_stays_visible(record: Record) -> None:
    slip_in_a_back_dated_row(record)
    record.seal()
    report = record.verify()
    assert report.faults == []
    (finding,) = report.findings
    assert (finding.kind, finding.severity, finding.seal) == (Kind.LATE, Severity.REMARK, 6)
    assert "while seals were made" in finding.words


def test_a_record_that_nobody_seals_any_more_is_found(record: Record) -> None:
    record.move_clock(days=1)
    first = record.verify().first_fault
    assert first is not None
    assert (first.kind, first.seal) == (Kind.STALE, 5)


def test_a_record_without_any_seal_is_found(tmp_path: Path) -> None:
    with new_record(tmp_path) as record:
        assert [each.kind for each in record.verify(anchors=[]).faults] == [Kind.NO_SEAL]


@pytest.mark.parametrize("key", ["nonsense", "00" * 31, ""])
def test_a_public_key_that_is_none_is_said_in_words(key: str) -> None:
    with pytest.raises(CommandError, match="64 hex digits"):
        call_command("verify_audit", public_key=[key])


def test_trust_can_come_from_the_anchors_alone(record: Record) -> None:
    report = record.verify(trusted=[])
    assert report.findings == []
    assert len(report.keys) == 1
