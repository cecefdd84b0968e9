"""Verifies an export of the record with nothing but Python (3.10 or newer) and the public key.

    python verify_export.py FOLDER --public-key HEX

FOLDER holds the files of an export. The public key comes from elsewhere: the release notes, the console, the anchors. A
key in the export itself proves nothing. An export in Parquet alone needs a library to be read: `pip install pyarrow`.
Exit status 0: every event is as it was sealed, and the manifest is the one in the record. 1: not so; the first place is
said. 2: the files cannot be read. 3: every event is as it was sealed, and nothing proves the manifest.

What this proves: each event here stood in the record when its seal was signed, unchanged. What it does not prove: that
no event was left out, except under a seal whose proof says "whole". `manage.py verify_audit` proves that on the record.

The signature is Ed25519 as defined in RFC 8032, section 5.1, worked out here with Python's integers from the curve's
definition, so that no library is needed. It only verifies, so nothing in it has to hide a secret.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import struct
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

# -- Ed25519: the curve -x^2 + y^2 = 1 + d x^2 y^2 over the integers modulo 2^255 - 19

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]
NEUTRAL: Point = (0, 1, 1, 0)


def add(p: Point, q: Point) -> Point:
    """The sum of two points in extended coordinates: x = X/Z, y = Y/Z, x y = T/Z."""
    x1, y1, z1, t1 = p
    x2, y2, z2, t2 = q
    a, b = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(point: Point, times: int) -> Point:
    total = NEUTRAL
    while times:
        if times & 1:
            total = add(total, point)
        point = add(point, point)
        times >>= 1
    return total


def decode_point(data: bytes) -> Point | None:
    """The point of 32 bytes: y, and the lowest bit of x at the top. None where there is none."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if len(data) != 32 or y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = decode_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the holder of `public_key` signed `message`."""
    key, nonce = decode_point(public_key), decode_point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or nonce is None or BASE is None or len(signature) != 64 or scalar >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    challenge = int.from_bytes(digest, "little") % ORDER
    left, right = multiply(BASE, scalar), add(nonce, multiply(key, challenge))
    same_x = (left[0] * right[2] - right[0] * left[2]) % P == 0
    return same_x and (left[1] * right[2] - right[1] * left[2]) % P == 0


# -- the tree of RFC 6962


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(level: list[bytes]) -> bytes:
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=False)] + odd
    return level[0]


def climb(leaf: bytes, index: int, size: int, path: list[str]) -> bytes | None:
    """The root that a path leads to, or None where the path has the wrong length."""
    steps = [bytes.fromhex(step) for step in path]
    while size > 1:
        if index ^ 1 < size:
            if not steps:
                return None
            sibling = steps.pop(0)
            leaf = node_hash(sibling, leaf) if index & 1 else node_hash(leaf, sibling)
        index, size = index // 2, (size + 1) // 2
    return None if steps else leaf


# -- what is hashed: the fields of an event, version 1

LEAF_TAG, SEAL_TAG = b"chatgrid.audit.leaf.v1\x00", b"chatgrid.audit.seal.v1\x00"
UTC = timezone.utc  # noqa: UP017 - Python 3.10 has no datetime.UTC, and an auditor's machine may have no newer one
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
FIELDS = [
    ("id", "uuid"), ("at", "time"), ("event", "text"), ("call_id", "uuid"), ("organization_id", "uuid"),
    ("organization_name", "text"), ("department_id", "uuid"), ("department_name", "text"), ("actor_id", "uuid"),
    ("actor_name", "text"), ("client_address", "text"), ("subject_kind", "text"), ("subject_id", "text"),
    ("purpose", "text"), ("model_asked", "text"), ("model_answered", "text"), ("query_hash", "text"),
    ("passages", "json"), ("tokens_input", "int8"), ("tokens_cached", "int8"), ("tokens_output", "int8"),
    ("tokens_reasoning", "int8"), ("tokens_estimated", "bool"), ("cost", "decimal"), ("outcome", "text"),
    ("first_token_ms", "int4"), ("total_ms", "int4"), ("provider_request_id", "text"), ("key_fingerprint", "text"),
    ("key_version", "text"), ("labels", "json"), ("details", "json"),
]  # fmt: skip


class Number(str):
    """A number of JSON as it was written: 1.10 stays 1.10."""


def parse(line: str) -> Any:
    return json.loads(line, parse_int=Number, parse_float=Number)


def as_database_writes(value: Any) -> str:
    """JSON as PostgreSQL writes a jsonb, from which it came."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        pairs = (json.dumps(name, ensure_ascii=False) + ": " + as_database_writes(each) for name, each in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_database_writes, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def field_bytes(kind: str, value: Any) -> bytes:
    if kind == "uuid":
        known = UUID(value)  # it takes a blank for a leading zero, and capital letters
        require(value == str(known), f"{value!r} is not how an id is written")
        return known.bytes
    if kind == "time":
        moment = datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        return struct.pack(">q", (moment - EPOCH) // timedelta(microseconds=1))
    if kind in ("int8", "int4"):
        return struct.pack(">q" if kind == "int8" else ">i", int(value))
    if kind == "bool":
        return b"\x01" if value in (True, "t") else b"\x00"
    if kind == "json":
        return (value if isinstance(value, str) else as_database_writes(value)).encode()
    return str(value).encode()


def leaf_of(event: dict[str, Any]) -> bytes:
    encoded = [LEAF_TAG]
    for name, kind in FIELDS:
        if event[name] is None:
            encoded.append(b"\xff\xff\xff\xff")
            continue
        data = field_bytes(kind, event[name])
        encoded.append(struct.pack(">i", len(data)) + data)
    return leaf_hash(b"".join(encoded))


def statement_of(seal: dict[str, Any]) -> bytes:
    numbers = struct.pack(">qqqq", *(int(seal[name]) for name in ("n", "microseconds", "first", "last")))
    return SEAL_TAG + numbers + b"".join(bytes.fromhex(seal[name]) for name in ("root", "previous", "public_key"))


# -- reading an export


def events_of(folder: Path) -> Iterator[dict[str, Any]]:
    if (folder / "events.csv").exists():
        with (folder / "events.csv").open(encoding="utf-8", newline="") as file:
            yield from map(from_cells, csv.DictReader(file))
        return
    if (folder / "events.parquet").exists():
        yield from parquet_events(folder / "events.parquet")
        return
    with (folder / "events.jsonl").open(encoding="utf-8", newline="\n") as file:
        for line in file:
            event = parse(line)
            yield event.get("unmapped", event)


def parquet_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a Parquet file, with times and amounts as the database shows them."""
    from pyarrow import parquet

    with path.open("rb") as file:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=5000):
            for event in batch.to_pylist():
                event["at"] = event["at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                event["cost"] = None if event["cost"] is None else f"{event['cost']:.8f}"
                yield event


def from_cells(row: dict[str, Any]) -> dict[str, Any]:
    """An event of a CSV: without the apostrophe that guards a formula, and with what was absent absent again."""
    event = dict(row)
    for name, kind in FIELDS:
        if kind == "text":
            event[name] = row[name].removeprefix("'")
        elif row[name] == "":
            event[name] = None
    return event


def lines_of(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)


class NotVerified(Exception):
    """The first place that is not as it was sealed."""


class Unproven(Exception):
    """Everything fits, but the export was made before its own last event was sealed."""


def require(condition: bool, words: str) -> None:
    if not condition:
        raise NotVerified(words)


def check_seal(seal: dict[str, Any], trusted: list[str]) -> None:
    require(seal["public_key"] in trusted, f"seal {seal['n']}: signed with a key that was not named")
    moment = EPOCH + timedelta(microseconds=int(seal["microseconds"]))
    require(seal["at"] == moment.isoformat(), f"seal {seal['n']}: its time was changed")
    key, signature = bytes.fromhex(seal["public_key"]), bytes.fromhex(seal["signature"])
    require(is_signed(key, signature, statement_of(seal)), f"seal {seal['n']}: the signature does not fit")


def check_events(folder: Path, trusted: list[str]) -> int:
    """Every event against its proof, every proof against its seal. The number of events."""
    pairs = zip(lines_of(folder / "proofs.jsonl"), lines_of(folder / "seals.jsonl"), strict=False)
    seal: dict[str, Any] = {"n": 0}
    proof: dict[str, Any] = {}
    leaves: list[bytes] = []
    count = number = 0
    for event in events_of(folder):
        count += 1
        require(int(event["seq"]) > number, f"event {event['id']} (number {event['seq']}): not in its place")
        number = int(event["seq"])
        if int(event["seal"]) != int(seal["n"]):
            finish(seal, proof, leaves)
            proof, seal = next(pairs, ({"seal": -1}, {"n": -1}))
            leaves = []
            require(int(event["seal"]) == seal["n"] == proof["seal"], f"event {event['id']}: its seal is missing")
            check_seal(seal, trusted)
        leaf = leaf_of(event)
        leaves.append(leaf)
        if "paths" in proof:
            check_path(event, leaf, seal, proof["paths"])
    finish(seal, proof, leaves)
    require(next(pairs, None) is None, "there are proofs without events: events were taken out")
    return count


def check_path(event: dict[str, Any], leaf: bytes, seal: dict[str, Any], paths: dict[str, list[str]]) -> None:
    path = paths.get(str(event["seq"]))
    index, size = int(event["seq"]) - seal["first"], seal["last"] - seal["first"] + 1
    fits = path is not None and 0 <= index < size and climb(leaf, index, size, path) == bytes.fromhex(seal["root"])
    require(fits, f"event {event['id']} (number {event['seq']}): not as it was sealed")


def finish(seal: dict[str, Any], proof: dict[str, Any], leaves: list[bytes]) -> None:
    if "paths" in proof:
        require(len(leaves) == len(proof["paths"]), f"seal {seal['n']}: events of it were taken out or put in")
    elif leaves:
        fits = len(leaves) == seal["last"] - seal["first"] + 1 and root_of(leaves).hex() == seal["root"]
        require(fits, f"seal {seal['n']}: an event was changed, taken out or put in")


def check_names(folder: Path, manifest: dict[str, Any]) -> None:
    """No second file of events lies beside the one that is proven: somebody would read it as proven, too."""
    for name in ("events.csv", "events.jsonl", "events.parquet"):
        require(name in manifest["files"] or not (folder / name).exists(), f"{name}: not a file of this export")


def check_files(folder: Path, manifest: dict[str, Any]) -> None:
    for name, known in manifest["files"].items():
        digest = hashlib.sha256()
        with (folder / name).open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        require(digest.hexdigest() == known["sha256"], f"{name}: not the file that the manifest names")


def check_receipt(folder: Path, manifest: dict[str, Any], trusted: list[str]) -> None:
    """That the manifest is the one in the record, whose event of this export names its digest."""
    receipt = parse((folder / "receipt.json").read_text(encoding="utf-8"))
    if "unsealed" in receipt:
        raise Unproven(f"export the event {UUID(receipt['unsealed'])} and compare its digest with manifest.json")
    event, seal = receipt["event"], json.loads(json.dumps(receipt["proof"]["seal"]))
    seal.update({name: int(seal[name]) for name in ("n", "microseconds", "first", "last")})
    check_seal(seal, trusted)
    require(str(event.get("seal")) == str(seal["n"]), "receipt.json: its event names another seal")
    check_path(event, leaf_of(event), seal, {str(event["seq"]): receipt["proof"]["path"]})
    of_this = event["event"] == "record:export_finished" and event["subject_id"] == manifest["export_id"]
    require(of_this, "receipt.json: of another export")
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    require(event["details"]["manifest"] == digest, "manifest.json: not the one that the record knows")


def verify(folder: Path, trusted: list[str]) -> int:
    """The number of events. Raises NotVerified with the first place that is not as it was sealed, or Unproven."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    check_names(folder, manifest)
    count = check_events(folder, trusted)
    require(count == manifest["events"], f"{count} events are here, the manifest counts {manifest['events']}")
    check_files(folder, manifest)
    check_receipt(folder, manifest, trusted)
    return count


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verifies an export of ChatGrid's record.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--public-key", action="append", required=True, help="64 hex digits; may be given again")
    options = parser.parse_args(arguments)
    csv.field_size_limit(1 << 30)
    status, words = outcome(options.folder, options.public_key)
    sys.stdout.write(words + "\n")
    return status


def outcome(folder: Path, trusted: list[str]) -> tuple[int, str]:
    """The exit status and what to say."""
    try:
        count = verify(folder, trusted)
    except NotVerified as finding:
        return 1, f"NOT VERIFIED. {finding}"
    except Unproven as missing:
        return 3, f"Every event is as it was sealed. The manifest is NOT PROVEN: {missing}."
    except ImportError:
        return 2, "These events are in Parquet: install pyarrow (pip install pyarrow), then verify again."
    # whatever a damaged file does to a reader: the auditor sees its name here, and never "verified"
    except Exception as error:
        return 2, f"This is no whole export: {type(error).__name__} {error}"
    return 0, f"{count} events are as they were sealed\nthe manifest is the one in the record"


if __name__ == "__main__":
    sys.exit(main())
