"""A million events in one export: `python -m tests.bench.exports [--events 1000000]`.

A throw-away ChatGrid is filled with sealed calls of one company. Each format is then exported twice into a folder, a
tenth of the events and all of them, each time by a process of its own: what it needed at most beyond what it needed
before it began is the memory of an export. At the end the largest is verified as an auditor would, by a bare Python.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from uuid import UUID

from tests.bench.charts import product, say

STEP = 100_000
BARE = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
"""
FILL = """
    INSERT INTO audit_event (event, call_id, organization_id, organization_name, department_id, department_name,
        actor_id, actor_name, client_address, purpose, model_asked, model_answered, query_hash, passages, tokens_input,
        tokens_output, cost, outcome, first_token_ms, total_ms, provider_request_id, key_fingerprint, key_version,
        details)
    SELECT 'call:answered', gen_random_uuid(), %s, 'Tarnholm', gen_random_uuid(), 'Finance', gen_random_uuid(),
        'Mara Lind', '192.0.2.7', 'chat', 'gpt-6-luna', 'gpt-6-luna-2026-08', encode(sha256(n::text::bytea), 'hex'),
        '["doc-1/4", "doc-2/7"]', 800 + n %% 400, 200, 0.00123456, 'answered', 400, 2400, 'req_' || n,
        'a1b2c3d4e5f60718', 'v-7', '{"reason": "", "attempts": 1}'
    FROM generate_series(1, %s) AS n
"""


def fill(events: int, organization: UUID) -> tuple[bytes, str]:
    """Sealed events; the public key that signed them, and the time at which a tenth of them had happened."""
    from audit.roles import connect
    from audit.seals import seal_once
    from audit.signing import Ed25519Signer

    signer = Ed25519Signer(secrets.token_bytes(32))
    with connect("owner") as owner, connect("sealer") as sealer:
        for _ in range(events // STEP):
            owner.execute(FILL, [organization, STEP])
        seal_once(sealer, signer)
        owner.execute("VACUUM (ANALYZE) audit_event, audit_leaf, audit_seal")
        row = owner.execute("SELECT at FROM audit_leaf WHERE seq = %s", [events // 10]).fetchone()
    assert row is not None
    return signer.public_key, row[0].isoformat()


def in_a_process_of_its_own(form: str, organization: UUID, until: str, folder: Path) -> dict[str, float]:
    words = [sys.executable, "-m", "tests.bench.exports", "--child", form, str(organization), until, str(folder)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def child(form: str, organization: str, until: str, folder: str) -> None:
    """One export, and what it took: seconds, processor seconds, megabytes before it and at most."""
    import django

    django.setup()
    from audit import export
    from audit.export_filters import Filters
    from audit.roles import connect

    export.RECEIPT_SECONDS = 0.0
    if form == export.Format.PARQUET:
        import audit.parquet  # noqa: F401 its library is there before the first event, and not the event's weight
    moment = datetime.fromisoformat(until) if until else None
    filters = Filters(organization_id=UUID(organization), until=moment)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the highest mark begins anew
    before, started, busy = _most(), time.perf_counter(), time.process_time()
    with connect("default") as rows, connect("default") as beside:
        export.write_folder(export.export(rows, beside, filters, export.Format(form), export.Exporter()), Path(folder))
    took = {"seconds": time.perf_counter() - started, "busy": time.process_time() - busy}
    manifest = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
    print(json.dumps({**took, "before": before, "most": _most(), "events": manifest["events"]}))


def _most() -> float:
    """Megabytes that this process had in memory at most (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(form: str, organization: UUID, tenth: str, folder: Path) -> None:
    few = in_a_process_of_its_own(form, organization, tenth, folder / f"{form}-few")
    all_ = in_a_process_of_its_own(form, organization, "", folder / form)
    beyond = [each["most"] - each["before"] for each in (few, all_)]
    size = sum(file.stat().st_size for file in (folder / form).iterdir())
    say(
        f"{form:8} {all_['events']:,.0f} events, {size / 1e6:,.0f} MB: {all_['events'] / all_['seconds']:,.0f} a second"
        f" ({all_['events'] / all_['busy']:,.0f} a second of this process's processor time); memory beyond the start"
        f" {beyond[0]:.1f} MB for {few['events']:,.0f} events, {beyond[1]:.1f} MB for all, {all_['most']:.0f} MB in all"
    )


def verify(folder: Path, key: bytes) -> None:
    """As an auditor would; the program is the one in the export, and says at its end how much memory it had."""
    words = [sys.executable, "-I", "-S", "-c", BARE, str(folder / "verify_export.py"), str(folder)]
    started = time.perf_counter()
    done = subprocess.run([*words, "--public-key", key.hex()], stdout=subprocess.PIPE, text=True, check=False)
    said, *_, most = done.stdout.splitlines()
    say(f"bare Python says in {time.perf_counter() - started:.0f} s, with {int(most) / 1024:.0f} MB: {said}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--child", nargs=4)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    with product(), tempfile.TemporaryDirectory() as folder:
        organization = UUID(bytes=secrets.token_bytes(16))
        key, tenth = fill(arguments.events, organization)
        for form in ("csv", "jsonl", "parquet", "ocsf"):
            measure(form, organization, tenth, Path(folder))
        verify(Path(folder) / "csv", key)


if __name__ == "__main__":
    main()
