"""Rates and times of the layers against prompt injection: `python -m tests.bench.injection FOLDER [--no-browser]`.

FOLDER holds third-party test data that is not part of this repository: dev.jsonl (texts with `label`, `kind`,
`source`), render_payloads.jsonl (answers of a model) and invisible_text.jsonl (`text`, `form`, `expect`, `flag`). A
file that is not there is left out.

Last comes a real browser on a running site (tests/bench/test_hostile_pages.py): every payload and every invisible text
in every place where ChatGrid shows text. The command ends with 1 where something did not hold.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

for _name, _value in {
    "DJANGO_SETTINGS_MODULE": "chatgrid.settings",
    "CHATGRID_ENVIRONMENT": "test",
    "CHATGRID_SECRET_KEY": "only for the bench",
    "CHATGRID_DATABASE_URL": "postgresql://nobody@localhost/nothing",
    "CHATGRID_REDIS_URL": "redis://localhost/0",
}.items():
    os.environ.setdefault(_name, _value)

from chatgrid.chat.markdown import render  # noqa: E402 (the settings' environment comes first)
from departments.keys.patterns import contains_key  # noqa: E402
from departments.prompts.clean import clean, for_matching  # noqa: E402
from departments.prompts.guard import OutputFilter, canary_of  # noqa: E402
from departments.prompts.scanner import rules, scan  # noqa: E402

TAGS = {
    "p", "br", "strong", "em", "s", "code", "pre", "ul", "ol", "li", "blockquote", "h3", "h4", "hr", "table", "thead",
    "tbody", "tr", "th", "td", "a", "span", "div",
}  # fmt: skip
ATTRIBUTES = {"class", "href", "rel", "start"}
TOKEN = 4  # characters in a piece of a stream
GAP = 10_000  # µs between two pieces of a provider that writes 100 tokens a second
FOLDER = "INJECTION_DATA"  # how the walk through the pages is told where the texts lie


def rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def scanner_rates(texts: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Kind of text -> how many carry a label, and how many there are."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row in texts:
        groups[f"{row['label']}, {row['kind']}, {row['source']}"].append(bool(scan(clean(row["text"]).text)))
    return {name: (sum(found), len(found)) for name, found in sorted(groups.items())}


class Harmless(HTMLParser):
    """Collects what a rendered answer holds beyond the allowed elements, attributes and links."""

    def __init__(self) -> None:
        super().__init__()
        self.wrongs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.wrongs.append(f"<{tag}>")
        for name, value in attrs:
            if name not in ATTRIBUTES:
                self.wrongs.append(f"{tag}[{name}]")
            if name == "href" and not (value or "").startswith(("https://", "mailto:", "#")):
                self.wrongs.append(f"href={value!r}")


def wrongs_of(answer: str) -> list[str]:
    parser = Harmless()
    parser.feed(render(answer))
    parser.close()
    return parser.wrongs


def wrong_cleanings(cases: list[dict[str, Any]]) -> list[str]:
    def is_right(case: dict[str, Any]) -> bool:
        cleaned = clean(case["text"])
        text = for_matching(case["text"], fold_case=False) if case["form"] == "match" else cleaned.text
        return text == case["expect"] and bool(cleaned.flags) == case["flag"]

    return [case["id"] for case in cases if not is_right(case)]


def filter_delay(answers: list[str]) -> tuple[float, float, float]:
    """Microseconds the filter adds to a piece, on average and at most for 99 of 100; characters it holds back."""
    times, held = [], []
    for answer in answers:
        output_filter, waiting = OutputFilter(canary_of("bench", ""), contains_key, "Be brief. " * 50), 0
        for at in range(0, len(answer), TOKEN):
            piece = answer[at : at + TOKEN]
            started = time.perf_counter()
            shown = output_filter.feed(piece)
            times.append(time.perf_counter() - started)
            waiting += len(piece) - len(shown)
            held.append(waiting)
    return statistics.mean(times) * 1e6, statistics.quantiles(times, n=100)[98] * 1e6, statistics.mean(held)


def scan_time(text: str) -> float:
    """Milliseconds for one scan, the best of several."""

    def once() -> float:
        started = time.perf_counter()
        scan(text)
        return time.perf_counter() - started

    return min(once() for _ in range(20)) * 1000


def benign_rate(texts: list[dict[str, Any]]) -> str:
    """Honest texts of a business with a label. `notinject` rows are made of trigger words and no business texts."""
    found = [bool(scan(clean(row["text"]).text)) for row in texts if row["label"] == "benign"]
    return f"{sum(found)} of {len(found)} ({sum(found) / max(1, len(found)):.1%}; at most 2 %)"


def growth(text: str) -> float:
    """How much longer ten times the text takes; about 10 where the time is linear."""
    return scan_time(text[:1_900] * 10) / scan_time(text[:1_900])


def report(folder: Path) -> Iterator[str]:
    texts = rows(folder / "dev.jsonl")
    yield f"Scanner, {len(rules())} rules: texts with a label"
    for name, (found, total) in scanner_rates(texts).items():
        yield f"  {name:45} {found:4} of {total:4}  {found / total:5.1%}"
    benign = [row["text"] for row in texts if row["label"] == "benign"]
    prose = " ".join(benign) or "Everybody may carry five unused days into the next year. " * 40
    yield f"  honest texts with a label: {benign_rate(texts)}"
    yield f"  2,000 characters take {scan_time(prose[:2000]):.2f} ms; ten times as many {growth(prose):.1f} times that"
    for hostile in ("a" * 2000, "ignore " * 300, "ignore all previous " * 100, "<" * 2000, "[](" * 700):
        yield f"    {hostile[:20]!r} again and again: {scan_time(hostile[:2000]):.2f} ms, {growth(hostile):.1f} times"
    mean, worst, characters = filter_delay([text for text in benign if len(text) > 60] or [prose])
    yield f"Output filter: {mean:.0f} µs for a piece of {TOKEN} characters, p99 {worst:.0f} µs, that is"
    yield f"  {mean / GAP:.2%} of a provider's gap of {GAP // 1000} ms; {characters:.1f} characters held back"
    payloads = rows(folder / "render_payloads.jsonl")
    harmful = {row["id"]: wrongs for row in payloads if (wrongs := wrongs_of(row["text"]))}
    yield f"Renderer: {len(payloads) - len(harmful)} of {len(payloads)} payloads harmless {harmful or ''}"
    cases = rows(folder / "invisible_text.jsonl")
    wrong = wrong_cleanings(cases)
    yield f"Cleaning: {len(cases) - len(wrong)} of {len(cases)} as expected {wrong or ''}"


def in_a_browser(folder: Path) -> int:
    """The exit code of the walk through all pages, in a process of its own: it needs the running services."""
    pages = Path(__file__).with_name("test_hostile_pages.py")
    own = {name for name in os.environ if name.startswith(("CHATGRID_", "DJANGO_"))}
    environment = {name: value for name, value in os.environ.items() if name not in own}
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:randomly", "--no-header", str(pages)]
    return subprocess.run(command, env=environment | {FOLDER: str(folder.resolve())}, check=False).returncode


def main() -> None:
    arguments = [each for each in sys.argv[1:] if each != "--no-browser"]
    if len(arguments) != 1:
        sys.exit("Name the folder with the test data: python -m tests.bench.injection FOLDER [--no-browser]")
    for line in report(Path(arguments[0])):
        print(line, flush=True)
    if "--no-browser" not in sys.argv:
        sys.exit(in_a_browser(Path(arguments[0])))


if __name__ == "__main__":
    main()
