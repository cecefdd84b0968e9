"""The list: every flaw class R01 to R36 that broke a peer has a test here, or a reason why it cannot apply yet.

A test belongs to a class by its name: `test_r07_…`. The classes, with the advisories behind them, are told in
docs/threat-model.md.
"""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
IDS = [f"R{number:02}" for number in range(1, 37)]
NAMED = re.compile(r"^(?:async )?def test_(r\d\d)_", re.MULTILINE)
# class -> the part of it that has nothing to be tried on, and what has to be written when it has
NOT_YET: dict[str, str] = {
    "R12": "no sign-in by a third party is offered; when one is: issuer and subject, state, nonce, and a fake provider",
    "R09": "people have no keys of their own to the gateway; when they do: the right of the key AND of the person",
}


def classes_with_a_test() -> set[str]:
    files = (path for path in HERE.glob("test_*.py") if path.name != "test_catalogue.py")
    return {name.upper() for path in files for name in NAMED.findall(path.read_text(encoding="utf-8"))}


def test_every_class_has_a_test_or_a_reason() -> None:
    assert set(IDS) - classes_with_a_test() - set(NOT_YET) == set(), (
        "Write a test_rNN_… for these, or a reason in NOT_YET."
    )


def test_no_entry_is_dead() -> None:
    assert classes_with_a_test() <= set(IDS), "These are not in the catalogue."
    assert set(NOT_YET) <= set(IDS)


def test_the_threat_model_tells_every_class() -> None:
    told = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    assert [name for name in IDS if f"| {name} |" not in told] == []
