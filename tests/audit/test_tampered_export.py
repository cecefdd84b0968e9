"""An export that somebody has worked on is found by the verifier in it, which names the first place that is not right.

The export under attack: 12 events of one company, seals 1 and 2 shared with another company (paths), seal 3 whole. Who
attacks may change every file, also the manifest and its digests, and has another export of the same record.
"""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from audit.events import Event
from audit.export import Format
from audit.signing import Ed25519Signer, Seal
from audit.verify_export import outcome
from audit.writer import record_with
from chatgrid.dev.services.bootstrap import APP
from tests.audit.places import Record, new_record
from tests.audit.test_export import OURS, THEIRS, call, exported


@dataclass
class Export:
    """A copy of an export that may be broken; `other` is a later export of the same record with other filters."""

    folder: Path
    other: Path
    record: Record

    def outcome(self) -> tuple[int, str]:
        return outcome(self.folder, [self.record.signer.public_key.hex()])

    @property
    def events(self) -> Path:
        return next(self.folder.glob("events.*"))

    def rows(self) -> list[bytes]:
        return rows_of(self.events)

    def write(self, rows: list[bytes]) -> None:
        """These events, in a manifest that says so."""
        self.events.write_bytes(b"".join(rows))
        self.sign_off()

    def manifest(self, **changed: Any) -> None:
        file = self.folder / "manifest.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changed, indent=2) + "\n")

    def sign_off(self) -> None:
        """The digests of the files as they are now, as whoever reads our code can work them out."""
        held = json.loads((self.folder / "manifest.json").read_text())["files"]
        for name in held:
            content = (self.folder / name).read_bytes()
            held[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        self.manifest(files=held)


def rows_of(file: Path) -> list[bytes]:
    """The lines of a file; in a CSV a cell may hold a line break, and its quotes are closed behind it."""
    rows = [b""]
    for line in file.read_bytes().splitlines(keepends=True):
        rows[-1] += line
        if file.suffix != ".csv" or rows[-1].count(b'"') % 2 == 0:
            rows.append(b"")
    return rows[:-1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Export]:
    folder = tmp_path_factory.mktemp("exports")
    with new_record(folder) as record:
        for group in (range(12), range(12, 19), [1, 3, 5]):
            with record.as_role(APP) as connection:
                for number in group:
                    record_with(connection, call(number))
            record.seal()
        exported(record, folder / "jsonl", events=[Event.CALL_ANSWERED])
        exported(record, folder / "csv", Format.CSV, events=[Event.CALL_ANSWERED])
        exported(record, folder / "other-jsonl", organization_id=OURS)
        exported(record, folder / "other-csv", Format.CSV, organization_id=OURS)
        yield Export(folder / "jsonl", folder / "other-jsonl", record)


@pytest.fixture(params=["jsonl", "csv"])
def export(made: Export, tmp_path: Path, request: pytest.FixtureRequest) -> Export:
    copied = Export(tmp_path / "export", made.other.with_name(f"other-{request.param}"), made.record)
    shutil.copytree(made.folder.parent / request.param, copied.folder)
    assert copied.outcome()[0] == 0
    return copied


def first_event(export: Export) -> int:
    """Where the events begin: a CSV has a line of names above them."""
    return 1 if export.events.suffix == ".csv" else 0


def cut_off_the_last_rows(export: Export) -> None:
    export.write(export.rows()[:-2])


def take_out_a_row_and_count_anew(export: Export) -> None:
    rows = export.rows()
    export.write(rows[:4] + rows[5:])
    export.manifest(events=11)


def put_two_rows_in_another_order(export: Export) -> None:
    rows, first = export.rows(), first_event(export)
    rows[first], rows[first + 1] = rows[first + 1], rows[first]
    export.write(rows)


def put_a_row_twice_in_place_of_another(export: Export) -> None:
    rows, first = export.rows(), first_event(export)
    rows[first + 1] = rows[first]
    export.write(rows)


def leave_out_a_whole_seal(export: Export) -> None:
    export.write(export.rows()[:-3])
    for name in ("seals.jsonl", "proofs.jsonl"):
        lines = (export.folder / name).read_bytes().splitlines(keepends=True)
        (export.folder / name).write_bytes(b"".join(lines[:-1]))
    export.sign_off()
    export.manifest(events=9, seals=2)


def bring_the_manifest_and_receipt_of_another_export(export: Export) -> None:
    for name in ("manifest.json", "receipt.json"):
        shutil.copy(export.other / name, export.folder)


def bring_the_receipt_of_another_export(export: Export) -> None:
    shutil.copy(export.other / "receipt.json", export.folder)


def change_the_receipt(export: Export, *path: str, to: Callable[[Any], Any]) -> None:
    file = export.folder / "receipt.json"
    receipt = json.loads(file.read_text())
    *above, name = path
    place = receipt
    for each in above:
        place = place[each]
    place[name] = to(place[name])
    file.write_text(json.dumps(receipt))


def say_another_seal_of_the_receipt(export: Export) -> None:
    change_the_receipt(export, "event", "seal", to=lambda number: number + 1)


def write_an_id_in_capitals(export: Export) -> None:
    change_the_receipt(export, "event", "organization_id", to=str.upper)


def write_the_time_of_a_seal_otherwise(export: Export) -> None:
    change_the_receipt(export, "proof", "seal", "at", to=lambda at: at.replace("T", " "))


def say_another_filter(export: Export) -> None:
    export.manifest(filters={"organization_id": str(OURS), "model": "gpt-6-sol"})


def change_the_time_of_a_seal_that_people_read(export: Export) -> None:
    file = export.folder / "seals.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0]["at"] = "2020-01-01T00:00:00+00:00"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    export.sign_off()


def sign_all_of_it_with_another_key(export: Export) -> None:
    """Every seal signed anew by a stranger; the export names the stranger's key as one of its own."""
    stranger, file = Ed25519Signer(secrets.token_bytes(32)), export.folder / "seals.jsonl"
    seals = [Seal.from_json(json.loads(line)) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(signed_by(stranger, seal).as_json()) + "\n" for seal in seals))
    export.sign_off()
    export.manifest(public_keys={"theirs": stranger.public_key.hex()})


def signed_by(signer: Ed25519Signer, seal: Seal) -> Seal:
    unsigned = replace(seal, public_key=signer.public_key)
    return replace(unsigned, signature=signer.sign(unsigned.statement))


def lay_events_of_another_format_beside(export: Export) -> None:
    name = "events.jsonl" if export.events.suffix == ".csv" else "events.parquet"
    (export.folder / name).write_bytes(export.events.read_bytes())


MATRIX: list[tuple[Callable[[Export], None], str]] = [
    (cut_off_the_last_rows, "seal 3: an event was changed, taken out or put in"),
    (take_out_a_row_and_count_anew, "seal 1: events of it were taken out or put in"),
    (put_two_rows_in_another_order, "(number 2): not in its place"),
    (put_a_row_twice_in_place_of_another, "(number 2): not in its place"),
    (leave_out_a_whole_seal, "manifest.json: not the one that the record knows"),
    (bring_the_manifest_and_receipt_of_another_export, "the manifest counts"),
    (bring_the_receipt_of_another_export, "receipt.json: of another export"),
    (say_another_seal_of_the_receipt, "receipt.json: its event names another seal"),
    (write_an_id_in_capitals, "is not how an id is written"),
    (write_the_time_of_a_seal_otherwise, ": its time was changed"),
    (say_another_filter, "manifest.json: not the one that the record knows"),
    (change_the_time_of_a_seal_that_people_read, "seal 1: its time was changed"),
    (sign_all_of_it_with_another_key, "seal 1: signed with a key that was not named"),
    (lay_events_of_another_format_beside, ": not a file of this export"),
]


@pytest.mark.parametrize(("attack", "words"), MATRIX, ids=[row[0].__name__ for row in MATRIX])
def test_an_attack_on_an_export_is_found_and_its_place_is_named(
    export: Export, attack: Callable[[Export], None], words: str
) -> None:
    attack(export)
    status, said = export.outcome()
    assert (status, words in said) == (1, True), said


def test_a_row_of_another_company_s_export_in_place_of_one_is_found(export: Export, tmp_path: Path) -> None:
    form = Format.CSV if export.events.suffix == ".csv" else Format.JSON_LINES
    theirs = exported(export.record, tmp_path / "theirs", form, organization_id=THEIRS, events=[Event.CALL_ANSWERED])
    rows, first = export.rows(), first_event(export)
    foreign = rows_of(next(theirs.glob("events.*")))
    rows[first + 1] = foreign[first + 1]  # number 3, under the same seal, with a proof in its own export alone
    export.write(rows)
    status, said = export.outcome()
    assert (status, "(number 3): not as it was sealed" in said) == (1, True), said


def test_without_a_receipt_nothing_claims_that_the_manifest_is_proven(export: Export) -> None:
    """What a receipt says is never repeated: a forged one could say "the manifest is the one in the record"."""
    leave_out_a_whole_seal(export)
    forged = {"unsealed": secrets.token_hex(16), "words": "the manifest is the one in the record"}
    (export.folder / "receipt.json").write_text(json.dumps(forged))
    status, said = export.outcome()
    assert status == 3
    assert "NOT PROVEN" in said
    assert "is the one in the record" not in said


def test_no_file_cut_off_or_with_a_flipped_bit_passes(export: Export) -> None:
    dice = random.Random(4)
    for file in sorted(export.folder.iterdir()):
        whole = file.read_bytes()
        flipped = [
            whole[:place] + bytes([whole[place] ^ 1 << dice.randrange(8)]) + whole[place + 1 :]
            for place in dice.sample(range(len(whole)), 25)
        ]
        for content in [whole[: len(whole) // 2], b"", b"[]", whole + b"x", *flipped]:
            file.write_bytes(content)
            assert export.outcome()[0] != 0 or means_the_same(content, whole), (file.name, content[:200])
        file.write_bytes(whole)
    assert export.outcome()[0] == 0


def means_the_same(content: bytes, whole: bytes) -> bool:
    """In a receipt, which no digest covers, a blank may be another one, and a digit of a hash a capital."""
    return bool(json.loads(content.lower()) == json.loads(whole.lower()))
