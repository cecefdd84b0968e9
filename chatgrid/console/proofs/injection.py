"""Control 8: layers against prompt injection. Runs the attack report and keeps what it says of each layer."""

from __future__ import annotations

from io import StringIO

from django.core.management import CommandError, call_command

from chatgrid.console.proofs.base import Evidence
from departments.models import Organization

FLAW = "FLAW"
# counts over every company's departments, which is nobody's business in one of them
OF_ALL_COMPANIES = ("L9",)


def look(organization: Organization) -> list[Evidence]:
    report, flaw = StringIO(), ""
    try:
        call_command("attack_report", stdout=report)
    except CommandError as error:
        flaw = str(error)
    lines = [line for line in report.getvalue().splitlines() if line.startswith("L")]
    evidence = [_layer(line) for line in lines if not line.startswith(OF_ALL_COMPANIES)]
    if not evidence:
        return [Evidence("The attack report said nothing", holds=None)]
    if flaw and all(each.holds for each in evidence):
        evidence.append(Evidence(flaw, holds=False))
    held = sum(bool(each.holds) for each in evidence)
    return [Evidence(f"Own attacks on every layer: {held} of {len(evidence)} figures are as they must be"), *evidence]


def _layer(line: str) -> Evidence:
    return Evidence(" ".join(line.removesuffix(FLAW).split()), holds=not line.endswith(FLAW))
