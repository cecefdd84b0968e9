"""An export streams out, proves itself without ChatGrid, and is itself in the record."""

from __future__ import annotations

import ast
import csv
import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pyarrow
import pytest
from pyarrow import parquet

from audit import ocsf, verify_export
from audit.events import Event, Outcome
from audit.export import Exporter, Format, export, write_folder
from audit.export_filters import Filters
from audit.export_zip import stream_zip
from audit.leaves import FIELDS
from audit.verify_export import outcome
from audit.writer import Entry, record_with
from chatgrid.dev.services.bootstrap import APP
from tests.audit.places import Record, new_record

OURS, THEIRS, HR, MARA = uuid4(), uuid4(), uuid4(), uuid4()
NASTY = '=HYPERLINK("http://x")\n\u202e"; \\ \'quoted\' \t\x07 ü 漢 \U0001f600'
BEGINNINGS = "=+-@\t\r\n＝＋－＠"  # of what a spreadsheet takes for a formula


def call(number: int) -> Entry:
    return Entry(
        event=Event.CALL_ANSWERED,
        call_id=uuid4(),
        organization_id=OURS if number % 2 else THEIRS,
        organization_name="'Acme",
        department_id=HR if number % 3 else None,
        department_name=f"{BEGINNINGS[number // 2 % len(BEGINNINGS)]}1+1",
        subject_kind=f"{BEGINNINGS[(number // 2 + 5) % len(BEGINNINGS)]}1+1",
        actor_id=MARA,
        actor_name=NASTY,
        model_asked="gpt-6-luna",
        tokens_input=number,
        cost=Decimal("0.00001230"),
        outcome=Outcome.ANSWERED,
        passages=["a", "b"],
        details={"text": NASTY, "half": 1.5, "big": 12345678901234567890, "none": None, "b": {"aa": [True, []]}},
    )


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """Events of two companies under shared seals, and one seal with events of ours alone."""
    with new_record(tmp_path_factory.mktemp("record")) as made:
        for group in (range(12), range(12, 19), [1, 3, 5]):
            with made.as_role(APP) as connection:
                for number in group:
                    record_with(connection, call(number))
            made.seal()
        yield made


def exported(record: Record, folder: Path, form: Format = Format.JSON_LINES, **filters: Any) -> Path:
    """An export, with a sealer at work as in life."""
    stop = threading.Event()

    def seal() -> None:
        while not stop.wait(0.1):
            record.seal()

    sealer = threading.Thread(target=seal)
    sealer.start()
    try:
        with record.as_role(APP) as rows, record.as_role(APP) as beside:
            wanted = Filters(**{"organization_id": OURS} | filters)
            write_folder(export(rows, beside, wanted, form, Exporter(actor_id=MARA, actor_name="Mara")), folder)
    finally:
        stop.set()
        sealer.join()
    return folder


TEXT = [form for form in Format if form is not Format.PARQUET]


def checked(folder: Path, key: bytes, *, bare: bool = True) -> subprocess.CompletedProcess[str]:
    """As an auditor would: the file out of the export, a bare Python, nothing of ours and no library."""
    command = [
        sys.executable,
        "-I",
        *(["-S"] if bare else []),
        str(folder / "verify_export.py"),
        str(folder),
        "--public-key",
        key.hex(),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("form", TEXT)
def test_an_export_verifies_with_nothing_but_python_and_the_public_key(
    record: Record, tmp_path: Path, form: Format
) -> None:
    folder = exported(record, tmp_path / "out", form, events=[Event.CALL_ANSWERED])
    done = checked(folder, record.signer.public_key)
    assert done.stdout == "12 events are as they were sealed\nthe manifest is the one in the record\n"
    assert done.returncode == 0


@pytest.mark.parametrize("form", TEXT)
def test_a_changed_event_is_named(record: Record, tmp_path: Path, form: Format) -> None:
    folder = exported(record, tmp_path / "out", form, events=[Event.CALL_ANSWERED])
    file = folder / ("events.csv" if form is Format.CSV else "events.jsonl")
    before, _, after = file.read_bytes().partition(b"gpt-6-luna")
    file.write_bytes(before + b"gpt-6-nova" + after)
    done = checked(folder, record.signer.public_key)
    assert done.returncode == 1
    assert "(number 2): not as it was sealed" in done.stdout


@pytest.mark.parametrize("form", TEXT)
def test_a_changed_event_under_a_seal_that_was_exported_whole_is_found(
    record: Record, tmp_path: Path, form: Format
) -> None:
    folder = exported(record, tmp_path / "out", form, events=[Event.CALL_ANSWERED])
    file = folder / ("events.csv" if form is Format.CSV else "events.jsonl")
    before, _, after = file.read_bytes().rpartition(b"gpt-6-luna")
    file.write_bytes(before + b"gpt-6-nova" + after)
    done = checked(folder, record.signer.public_key)
    assert done.returncode == 1
    assert "seal 3: an event was changed" in done.stdout


def test_parquet_verifies_where_pyarrow_is_and_says_so_where_it_is_not(record: Record, tmp_path: Path) -> None:
    folder = exported(record, tmp_path / "out", Format.PARQUET, events=[Event.CALL_ANSWERED])
    done = checked(folder, record.signer.public_key, bare=False)
    assert done.stdout == "12 events are as they were sealed\nthe manifest is the one in the record\n", done.stderr
    done = checked(folder, record.signer.public_key)
    assert (done.returncode, "install pyarrow" in done.stdout) == (2, True)


@pytest.mark.parametrize(("row", "words"), [(0, "(number 2): not as it was sealed"), (-1, "seal 3: an event was")])
def test_a_changed_event_of_parquet_is_named(record: Record, tmp_path: Path, row: int, words: str) -> None:
    folder = exported(record, tmp_path / "out", Format.PARQUET, events=[Event.CALL_ANSWERED])
    table = parquet.read_table(folder / "events.parquet")
    events = table.to_pylist()
    events[row]["tokens_input"] += 1
    parquet.write_table(pyarrow.Table.from_pylist(events, table.schema), folder / "events.parquet")
    done = checked(folder, record.signer.public_key, bare=False)
    assert done.returncode == 1
    assert words in done.stdout


def test_parquet_holds_every_value_as_it_was_written(record: Record, tmp_path: Path) -> None:
    folder = exported(record, tmp_path / "out", Format.PARQUET, events=[Event.CALL_ANSWERED])
    table = parquet.read_table(folder / "events.parquet")
    assert table.schema.names == ["seq", "seal", *FIELDS]
    event = table.to_pylist()[0]
    assert event["actor_name"] == NASTY
    assert event["cost"] == Decimal("0.00001230")
    assert event["tokens_cached"] is None
    assert event["outcome"] == "answered"
    assert json.loads(event["details"])["text"] == NASTY
    assert event["at"].tzinfo is not None


def test_parquet_of_nothing_is_a_file_with_columns_and_no_rows(record: Record, tmp_path: Path) -> None:
    folder = exported(record, tmp_path / "out", Format.PARQUET, model="no such model")
    assert parquet.read_table(folder / "events.parquet").num_rows == 0
    assert checked(folder, record.signer.public_key, bare=False).returncode == 0


def test_an_event_that_was_taken_out_is_missed(record: Record, tmp_path: Path) -> None:
    folder = exported(record, tmp_path / "out")
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    for missing in range(len(lines)):
        (folder / "events.jsonl").write_bytes(b"".join(lines[:missing] + lines[missing + 1 :]))
        assert outcome(folder, [record.signer.public_key.hex()])[0] == 1, missing


def test_the_manifest_names_every_file_but_itself_and_its_receipt(record: Record, tmp_path: Path) -> None:
    folder = exported(record, tmp_path / "out")
    held = json.loads((folder / "manifest.json").read_text())["files"]
    assert set(held) == {"events.jsonl", "proofs.jsonl", "seals.jsonl", "verify_export.py"}
    assert {*held, "manifest.json", "receipt.json"} == {file.name for file in folder.iterdir()}


@pytest.mark.parametrize("name", ["manifest.json", "seals.jsonl", "proofs.jsonl", "receipt.json"])
def test_no_other_file_can_be_changed(record: Record, tmp_path: Path, name: str) -> None:
    folder = exported(record, tmp_path / "out")
    text = (folder / name).read_text()
    changed = text.replace('"events"', '"Events"', 1).replace("0", "1", 1) if name == "manifest.json" else _bump(text)
    (folder / name).write_text(changed)
    assert checked(folder, record.signer.public_key).returncode in {1, 2}


def _bump(text: str) -> str:
    """The last hex digit of a hash or signature turned into another."""
    last = max(text.rfind('", "'), text.rfind('"]'), text.rfind('"}'))
    return text[: last - 1] + ("0" if text[last - 1] != "0" else "1") + text[last:]


def test_a_key_that_was_not_named_is_refused(record: Record, tmp_path: Path) -> None:
    folder = exported(record, tmp_path / "out")
    done = checked(folder, bytes(32))
    assert done.returncode == 1
    assert "signed with a key that was not named" in done.stdout


def test_half_an_export_is_no_export(tmp_path: Path, record: Record) -> None:
    folder = exported(record, tmp_path / "out")
    (folder / "manifest.json").unlink()
    assert checked(folder, record.signer.public_key).returncode == 2


def test_no_event_of_another_company_is_in_it(record: Record, tmp_path: Path) -> None:
    folder = exported(record, tmp_path / "out")
    assert str(THEIRS) not in "".join(path.read_text() for path in folder.iterdir())


def test_no_cell_of_a_csv_begins_like_a_formula(record: Record, tmp_path: Path) -> None:
    folder = exported(record, tmp_path / "out", Format.CSV)
    with (folder / "events.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    cells = [cell for row in rows for cell in row.values()]
    assert not [cell for cell in cells if cell[:1] in set(BEGINNINGS)]
    guarded = {cell[1] for cell in cells if cell.startswith("'")}
    assert set(BEGINNINGS) <= guarded, "each of them was there to be guarded"
    assert rows[0]["actor_name"] == "'" + NASTY
    assert rows[0]["organization_name"] == "''Acme"


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 12),
        ({"department_id": HR}, 8),
        ({"actor_id": MARA}, 12),
        ({"actor_id": uuid4()}, 0),
        ({"model": "gpt-6-luna"}, 12),
        ({"model": "another"}, 0),
        ({"organization_id": THEIRS}, 10),
    ],
)
def test_filters_narrow_it_down(record: Record, tmp_path: Path, filters: dict[str, Any], count: int) -> None:
    folder = exported(record, tmp_path / "out", **{"events": [Event.CALL_ANSWERED]} | filters)
    assert json.loads((folder / "manifest.json").read_text())["events"] == count
    assert checked(folder, record.signer.public_key).returncode == 0


def test_times_bound_it(record: Record, tmp_path: Path) -> None:
    moment = record.ask("SELECT at FROM audit_event WHERE tokens_input = 13")
    before = exported(record, tmp_path / "before", until=moment, events=[Event.CALL_ANSWERED])
    after = exported(record, tmp_path / "after", since=moment, events=[Event.CALL_ANSWERED])
    counts = [json.loads((folder / "manifest.json").read_text())["events"] for folder in (before, after)]
    assert counts == [6, 6]


def test_an_export_is_itself_two_events(record: Record, tmp_path: Path) -> None:
    folder = exported(record, tmp_path / "out", model="gpt-6-luna")
    export_id = json.loads((folder / "manifest.json").read_text())["export_id"]
    with record.as_role(APP) as connection:
        found = connection.execute(
            "SELECT event, actor_id, details FROM audit_event WHERE subject_id = %s ORDER BY at", [export_id]
        ).fetchall()
    assert [row[0] for row in found] == [Event.EXPORT_BEGUN, Event.EXPORT_FINISHED]
    assert {row[1] for row in found} == {MARA}
    assert found[0][2]["filters"]["model"] == "gpt-6-luna"
    assert found[1][2]["events"] == 12


def test_a_zip_holds_the_same_files(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.export.RECEIPT_SECONDS", 0.0)
    with record.as_role(APP) as rows, record.as_role(APP) as beside:
        members = export(rows, beside, Filters(organization_id=OURS), Format.CSV, Exporter())
        packed = b"".join(stream_zip(members))
    archive = zipfile.ZipFile(io.BytesIO(packed))
    assert archive.testzip() is None
    assert set(archive.namelist()) == {
        "events.csv", "proofs.jsonl", "seals.jsonl", "verify_export.py", "manifest.json", "receipt.json"
    }  # fmt: skip
    assert "unsealed" in json.loads(archive.read("receipt.json"))


def test_the_verifier_knows_the_same_fields_as_the_record() -> None:
    assert list(FIELDS.items()) == verify_export.FIELDS


def test_the_verifier_asks_for_no_newer_python_than_it_says() -> None:
    text = Path(verify_export.__file__).read_text(encoding="utf-8")
    assert "Python (3.10 or newer)" in text
    ast.parse(text, feature_version=(3, 10))
    assert "datetime import UTC" not in text  # of Python 3.11


def test_a_number_that_no_double_holds_keeps_no_event_from_a_siem(record: Record, tmp_path: Path) -> None:
    """Of a record that an older version wrote: this one writes such a number as its text."""
    folder = exported(record, tmp_path / "out", events=[Event.CALL_ANSWERED])
    line = (folder / "events.jsonl").read_bytes().splitlines()[0]
    large = line.replace(b'"half": 1.5', b'"half": ' + b"9" * 400)
    assert large != line
    assert ocsf.of_line(large) == ocsf.of_line(line).replace(line, large)


def test_a_line_for_a_siem_has_the_class_of_its_event(record: Record, tmp_path: Path) -> None:
    folder = exported(record, tmp_path / "out", Format.OCSF, events=[Event.CALL_ANSWERED])
    first = json.loads((folder / "events.jsonl").read_text().splitlines()[0])
    assert (first["class_uid"], first["category_uid"], first["type_uid"]) == (6003, 6, 600399)
    assert first["status_id"] == 1
    assert UUID(first["actor"]["user"]["uid"]) == MARA


def test_a_broken_off_export_is_in_the_record_too(record: Record) -> None:
    with record.as_role(APP) as rows, record.as_role(APP) as beside:
        filters = Filters(organization_id=OURS, model="broken off")
        members = export(rows, beside, filters, Format.CSV, Exporter())
        next(members)
        members.close()
    query = "SELECT count(*) FROM audit_event WHERE details->'filters'->>'model' = 'broken off'"
    assert record.ask(query) == 1
