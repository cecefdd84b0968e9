"""What is hashed: the bytes of PostgreSQL and our own encoding agree, and the tree is the one of RFC 6962."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from audit import merkle, verify_export
from audit.events import Event
from audit.leaves import FIELDS, columns, copy_rows, leaf_of, leaf_of_row
from audit.signing import Ed25519Signer
from chatgrid.dev.services.bootstrap import APP
from tests.audit.places import Record, new_record


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    with new_record(tmp_path_factory.mktemp("record")) as made:
        yield made


def test_the_servers_bytes_are_our_encoding(record: Record) -> None:
    record.write(
        event=Event.CALL_ANSWERED,
        call_id=uuid4(),
        actor_name="Ü \u202e \U0001f600",
        tokens_input=2**40,
        total_ms=-1,
        tokens_estimated=True,
        cost=Decimal("0.1"),
        details={"b": 1, "a": ["x", None, 1.5]},
    )
    record.write()
    json_as_text = {name for name, kind in FIELDS.items() if kind == "json"}
    wanted = ", ".join(f"{name}::text" if name in json_as_text else name for name in FIELDS)
    with record.as_role(APP) as connection:
        rows = connection.execute(f"SELECT {wanted} FROM audit_event ORDER BY id").fetchall()
        query = sql.SQL("SELECT {} FROM audit_event e ORDER BY e.id").format(columns("e"))
        leaves = [leaf_of_row(row) for row in copy_rows(connection, query)]
    assert len(leaves) == 2
    assert [leaf_of(dict(zip(FIELDS, row, strict=True))) for row in rows] == leaves


def test_no_two_events_share_an_encoding() -> None:
    empty: dict[str, object] = dict.fromkeys(FIELDS)
    leaves = {leaf_of(empty)}
    for name, kind in FIELDS.items():
        if kind == "text":
            leaves |= {leaf_of({**empty, name: ""}), leaf_of({**empty, name: "a"}), leaf_of({**empty, name: "aa"})}
    texts = [name for name, kind in FIELDS.items() if kind == "text"]
    assert len(leaves) == 1 + 3 * len(texts)


def test_a_time_keeps_its_microsecond() -> None:
    moments = [datetime(2026, 11, 23, 12, 0, 0, micro, UTC) for micro in (0, 1, 999_999)]
    empty: dict[str, object] = dict.fromkeys(FIELDS)
    assert len({leaf_of({**empty, "at": moment}) for moment in moments}) == 3


def recursive_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(recursive_root(leaves[:split]), recursive_root(leaves[split:]))


@pytest.mark.parametrize("size", [*range(20), 31, 32, 33, 100])
def test_the_tree_is_that_of_the_rfc_and_every_leaf_can_be_proven(size: int) -> None:
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(size)]
    root = merkle.root(leaves)
    assert root == recursive_root(leaves)
    built = merkle.levels(leaves)
    for index, leaf in enumerate(leaves):
        steps = merkle.path(built, index)
        assert merkle.leads_to(root, leaf, index, size, steps)
        assert verify_export.climb(leaf, index, size, [step.hex() for step in steps]) == root


@settings(max_examples=200, deadline=None)
@given(size=st.integers(1, 40), data=st.data())
def test_no_other_leaf_place_size_or_path_leads_to_the_root(size: int, data: st.DataObject) -> None:
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(size)]
    root, index = merkle.root(leaves), data.draw(st.integers(0, size - 1))
    steps = merkle.path(merkle.levels(leaves), index)
    other = data.draw(st.integers(0, size - 1).filter(lambda each: each != index)) if size > 1 else 1
    assert not merkle.leads_to(root, merkle.leaf_hash(b"other"), index, size, steps)
    assert not merkle.leads_to(root, leaves[index], other, size, steps)
    assert not merkle.leads_to(root, leaves[index], index, size, [*steps, bytes(32)])
    assert not steps or not merkle.leads_to(root, leaves[index], index, size, steps[:-1])
    assert not merkle.leads_to(root, leaves[index], -1, size, steps)


@settings(max_examples=25, deadline=None)
@given(private=st.binary(min_size=32, max_size=32), message=st.binary(max_size=200), bit=st.integers(0, 511))
def test_the_stand_alone_signature_check_agrees_with_the_library(private: bytes, message: bytes, bit: int) -> None:
    signer = Ed25519Signer(private)
    signature = signer.sign(message)
    assert verify_export.is_signed(signer.public_key, signature, message)
    flipped = (int.from_bytes(signature, "little") ^ (1 << bit)).to_bytes(64, "little")
    assert not verify_export.is_signed(signer.public_key, flipped, message)
    assert not verify_export.is_signed(signer.public_key, signature, message + b"x")


def test_the_stand_alone_check_refuses_what_is_no_signature() -> None:
    signer = Ed25519Signer(bytes(32))
    signature = signer.sign(b"")
    too_large = signature[:32] + (int.from_bytes(signature[32:], "little") + verify_export.ORDER).to_bytes(32, "little")
    for key, claimed in [(bytes(31), signature), (b"\xff" * 32, signature), (signer.public_key, b""),
                         (signer.public_key, too_large)]:  # fmt: skip
        assert not verify_export.is_signed(key, claimed, b"")


def test_a_signing_key_does_not_show() -> None:
    import pickle

    signer = Ed25519Signer(bytes(range(32)))
    assert "ed25519-" in repr(signer)
    assert bytes(range(32)).hex() not in repr(signer)
    with pytest.raises(TypeError):
        pickle.dumps(signer)
