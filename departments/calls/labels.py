"""Labels in words: what a scan has seen in a text, for the people who should know.

A label is the id of a rule (departments/prompts/rules/), a group of hidden characters, a kind of secret, or what a
classifier or a moderation said. In the record it carries where it was seen: "question:", "passage:" or "answer:".
"""

from __future__ import annotations

from functools import cache

from departments.prompts.scanner import rules

SEEN_IN = ("question:", "passage:", "answer:", "scan: ")
OF_CHARACTERS = {
    "tags": "holds a message in characters that nobody can see",
    "variation_selectors": "may hold a message in characters that nobody can see",
    "bidi": "holds characters that turn the order of the text around",
    "joiners": "holds invisible joiners where no language needs them",
    "zero_width": "holds characters without a width",
    "private_use": "holds characters of no known meaning",
    "controls": "holds control characters",
    "noncharacters": "holds what is no character",
    "surrogates": "holds half a character",
    "marks": "stacks marks on a letter",
    "mixed_script": "writes a word with look-alike letters of another script",
}
OF_OTHERS = {
    "classifier:failed": "could not be looked at by the classifier",
    "classifier:late": "was not looked at by the classifier in time",
    "moderation:unavailable": "could not be checked by the provider's moderation",
    "canary": "held the department's canary",
    "key": "holds something like a key",
    "rules": "held the department's rules",
}


def in_words(label: str) -> str:
    """One label as the end of a sentence that begins with "It": "tells the assistant to ignore its instructions"."""
    name = plain(label)
    if name in (known := _known()):
        return known[name]
    source, colon, said = name.partition(":")
    if colon and source in {"classifier", "moderation"}:
        return f"was called “{said}” by the {source}"
    return f"holds a {name}" if label.startswith("question:") else name


def plain(label: str) -> str:
    """A label without where it was seen."""
    start = next((each for each in SEEN_IN if label.startswith(each)), "")
    return label.removeprefix(start)


@cache
def _known() -> dict[str, str]:
    return {rule.id: rule.says for rule in rules()} | OF_CHARACTERS | OF_OTHERS
