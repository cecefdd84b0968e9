"""What ChatGrid is made of: `python -m chatgrid.dev.supply sbom | licences | audit`.

- `sbom` writes a CycloneDX document of everything that runs in production, with versions, hashes, licences and who
  needs whom, from the hashed lists and from what is installed.
- `licences` names the licence of each, and ends with 1 where one is not allowed (`ALLOWED`, `EXCEPTIONS`).
- `audit` looks each up among the known flaws (pip-audit, from the package index) and ends with 1 where there is one.
  Without the network, or where the index in use knows of no flaws, it says what was not looked up: no answer is never
  taken for a good one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.contrib.this.builders import this_component
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LISTS = ("requirements.txt", "requirements-vaults.txt")
AUDIT_SECONDS = 300

# how packages call their licences, as SPDX does
SPDX = {
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "BSD-3-Clause, Apache-2.0, dependency licenses": "BSD-3-Clause AND Apache-2.0",
    "Other/Proprietary License": "LicenseRef-other",
}
# permissive; and those whose terms are met by using the package unchanged and as a package of its own
ALLOWED = frozenset(
    {
        *("MIT", "MIT-0", "MIT-CMU", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0", "PSF-2.0", "ISC", "Zlib"),
        *("CC0-1.0", "MPL-2.0", "LGPL-2.1-or-later", "LGPL-3.0-only"),
    }
)
# package -> why a licence that is not on the list is fine
EXCEPTIONS = {"qrcode": "its licence file is a BSD licence; the other classifier stands for the pages of its authors"}


@dataclass(frozen=True)
class Package:
    """One pinned package. `hashes` are SHA-256 of the files that may be installed."""

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def licence(self) -> str:
        """An SPDX expression; "" where the package does not say."""
        try:
            said = metadata(self.name)
        except PackageNotFoundError:
            return ""
        classifiers = [each.split(" :: ")[-1] for each in said.get_all("Classifier", []) if each.startswith("License")]
        lines = said["License"].strip().splitlines() if "License" in said else []
        named = [said["License-Expression"]] if "License-Expression" in said else classifiers or lines[:1]
        return " AND ".join(SPDX.get(each, each) for each in named if each != "OSI Approved")

    @property
    def is_allowed(self) -> bool:
        return self.name in EXCEPTIONS or allows(self.licence)


def packages() -> list[Package]:
    """Everything that may be installed in production on this platform, by name."""
    found = {package.name: package for name in LISTS for package in _read(ROOT / name)}
    return [found[name] for name in sorted(found)]


def allows(expression: str) -> bool:
    """Whether an SPDX expression is met by allowed licences: all of an AND, one of an OR."""
    if not expression:
        return False
    parts = [part.strip(" ()") for part in re.split(r"\bAND\b(?![^(]*\))", expression)]
    return all(any(each.strip(" ()") in ALLOWED for each in re.split(r"\bOR\b", part)) for part in parts)


def bill() -> str:
    """The CycloneDX document, version 1.6, as JSON."""
    everything: dict[str, tuple[Package, Component]] = {
        canonicalize_name(package.name): (package, _component(package)) for package in packages()
    }
    bom = Bom()
    bom.metadata.component = root = Component(name="chatgrid", type=ComponentType.APPLICATION, bom_ref="chatgrid")
    bom.metadata.tools.components.add(this_component())
    for package, component in everything.values():
        bom.components.add(component)
        needed = [everything[name][1] for name in _needed(package) if name in everything]
        bom.register_dependency(component, needed)
    bom.register_dependency(root, [component for _, component in everything.values()])
    document: str = JsonV1Dot6(bom).output_as_string(indent=2)
    return document


def flaws() -> tuple[list[str], list[str]]:
    """Known flaws, one line each, and the packages that could not be looked up."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--disable-pip", "--require-hashes",
               "--progress-spinner", "off"]  # fmt: skip
    lists = [argument for name in LISTS for argument in ("-r", str(ROOT / name))]
    try:
        answer = subprocess.run([*command, *lists], capture_output=True, text=True, timeout=AUDIT_SECONDS, check=False)
        rows: list[dict[str, Any]] = json.loads(answer.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError, TypeError):
        return [], [package.name for package in packages()]
    return list(_lines(rows)), [row["name"] for row in rows if "skip_reason" in row]


def _lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        for flaw in row.get("vulns", []):
            mended = ", ".join(flaw.get("fix_versions", [])) or "no version yet"
            yield f"{row['name']} {row['version']}: {flaw['id']}, mended in {mended}"


def _read(path: Path) -> Iterator[Package]:
    """The packages of a hashed list that are for this platform."""
    for entry in re.split(r"\n(?=[A-Za-z0-9])", path.read_text(encoding="utf-8")):
        try:
            wanted = Requirement(entry.split("\\")[0].strip())
        except InvalidRequirement:
            continue  # the head of the file
        version = next(iter(wanted.specifier)).version
        if wanted.marker is None or wanted.marker.evaluate():
            yield Package(wanted.name, version, tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)))


def _component(package: Package) -> Component:
    licence = package.licence
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{package.name}=={package.version}",
        purl=PackageURL("pypi", name=canonicalize_name(package.name), version=package.version),
        licenses=[LicenseFactory().make_from_string(licence)] if licence else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in package.hashes],
    )


def _needed(package: Package) -> set[str]:
    try:
        wanted = [Requirement(each) for each in requires(package.name) or []]
    except PackageNotFoundError:
        return set()
    return {
        canonicalize_name(each.name) for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})
    }


def _licences() -> int:
    wrong = [package for package in packages() if not package.is_allowed]
    for package in packages():
        print(f"{package.name:32} {package.version:14} {package.licence or 'not said'}")
    for package in wrong:
        print(
            f"Not allowed: {package.name} ({package.licence or 'not said'}). Choose another package, or give a reason."
        )
    return 1 if wrong else 0


def _audit() -> int:
    found, unknown = flaws()
    for line in found:
        print(line)
    known = len(packages()) - len(unknown)
    print(f"{known} of {len(packages())} packages looked up, {len(found)} known flaws.")
    if unknown:
        print("Not looked up, so nothing is known of them: " + ", ".join(unknown))
        print("The package index in use gives no list of flaws. Run this again where the public one can be reached.")
    return 1 if found else 0


def main() -> int:
    wish = sys.argv[1] if len(sys.argv) == 2 else ""
    if wish == "sbom":
        print(bill())
        return 0
    if wish in {"licences", "audit"}:
        return {"licences": _licences, "audit": _audit}[wish]()
    print("Say which: python -m chatgrid.dev.supply sbom | licences | audit", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
