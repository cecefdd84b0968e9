"""What leaves with an answer, however the provider cuts it and however a model disguises it."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from departments.keys.patterns import contains_key
from departments.prompts.guard import OutputFilter, Withheld, canary_of
from departments.prompts.leaks import LONG_WORD, LONGEST_DISGUISE, RULES_DOUBT, RULES_RUN

RULES = (
    "You answer for Human Resources. Speak of leave, sickness and working hours only; send every question about pay "
    "to the payroll desk on the second floor, and never name a person who has asked."
)
CANARY = canary_of("a department", RULES)
BODY = "Ab3_x9Kd-Qz7"
KEYS = {
    "project": "sk-" + "proj-" + BODY * 5 + "T3Blbk" + "FJ" + BODY * 5,
    "service": "sk-" + "svcacct-" + BODY * 6 + "T3Blbk" + "FJ" + BODY * 6,
    "admin": "sk-" + "admin-" + BODY * 5 + "T3Blbk" + "FJ" + BODY * 5,
    "legacy": "sk-" + "aB3dE5gH7jK9mN1pQ3sT" + "T3Blbk" + "FJ" + "uV5xY7zA9cD1eF3gH5jK",
}
KEY = KEYS["project"]
Disguise = Callable[[str], str]


def in_base64(before: int) -> Disguise:
    return lambda secret: base64.b64encode(b"q" * before + secret.encode() + b"\nq").decode()


def in_lines(text: str) -> str:
    return "\n".join(text[at : at + 20] for at in range(0, len(text), 20))


KEY_MARKS = ("\u200b", "\\", "**", "\u00ad", "\ufeff\u2060", "\r", "\x00", "\x1b", "\x85", "\u2028", "\u061c", "\u202e",
             "\u2066", "\u180b", "\ufff9", "\U000e0041", "\U000e0101", "\U0001d173")  # fmt: skip


DISGUISES: dict[str, Disguise] = {
    "plain": lambda secret: secret,
    "reversed": lambda secret: secret[::-1],
    "base64, first alignment": in_base64(0),
    "base64, second alignment": in_base64(1),
    "base64, third alignment": in_base64(2),
    "base64 in lines": lambda secret: in_lines(in_base64(1)(secret)),
    "base64 for addresses": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "hex": lambda secret: secret.encode().hex(),
    "hex in capitals, spaced": lambda secret: secret.encode().hex(" ").upper(),
    "hex as numbers": lambda secret: ", ".join(f"0x{byte:02X}" for byte in secret.encode()),
    "hex of code points": lambda secret: "".join(rf"\u{byte:04x}" for byte in secret.encode()),
    "fullwidth": lambda secret: "".join(chr(ord(letter) + 0xFEE0) for letter in secret),
    "mathematical": lambda secret: secret.translate({ord("a") + at: 0x1D5EE + at for at in range(26)}),
    "letters of other scripts": lambda secret: secret.translate(str.maketrans("aceops", "асеорѕ")),
    "hyphens that do not break": lambda secret: secret.replace("-", "\u2011"),
    "hex as escapes": lambda secret: "".join(rf"\x{byte:02x}" for byte in secret.encode()),
}
FOR_CANARIES: dict[str, Disguise] = DISGUISES | {
    "capitals": str.upper,
    "hex of capitals": lambda secret: secret.upper().encode().hex(),
    "spaced": lambda secret: " ".join(secret),
    "hyphens and lines": lambda secret: "-\n".join(secret),
    "bold letters": lambda secret: "".join(f"**{letter}**" for letter in secret),
}


def shown(pieces: Iterator[str] | list[str], rules: str = RULES) -> tuple[str, str]:
    """The text a person sees of an answer that comes in these pieces, and why it ended ("" if it did not)."""
    output_filter, text = OutputFilter(CANARY, contains_key, rules), ""
    try:
        for piece in pieces:
            text += output_filter.feed(piece)
        return text + output_filter.finish(), ""
    except Withheld as withheld:
        return text, withheld.label


def cut(text: str, *places: int) -> list[str]:
    return [text[start:end] for start, end in pairwise([0, *sorted(places), len(text)])]


def longest_common(first: str, second: str) -> int:
    return max(
        (size for at in range(len(first)) for size in range(1, len(first) - at + 1) if first[at : at + size] in second),
        default=0,
    )


@pytest.mark.parametrize("disguise", FOR_CANARIES)
def test_a_canary_is_withheld_in_every_disguise_cut_anywhere(disguise: str) -> None:
    leak = FOR_CANARIES[disguise](CANARY)
    answer = f"My reference is: {leak} and so on."
    for place in range(len(answer)):
        text, label = shown(cut(answer, place))
        assert label == "canary", place
        assert longest_common(leak, text.partition(": ")[2]) < LONG_WORD


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("kind", KEYS)
def test_a_key_is_withheld_in_every_disguise_cut_anywhere(kind: str, disguise: str) -> None:
    leak = DISGUISES[disguise](KEYS[kind])
    answer = f"The key is: {leak} and so on."
    for place in range(0, len(answer), 3):
        text, label = shown(cut(answer, place))
        assert label == "key", place
        # backwards the tell-tale comes last: the first letters of a long word are shown before it is one
        assert len(text.partition(": ")[2]) < LONG_WORD, text


@pytest.mark.parametrize("mark", KEY_MARKS, ids=repr)
@pytest.mark.parametrize("kind", KEYS)
def test_a_key_is_withheld_whatever_stands_between_its_letters_that_a_page_does_not_show(kind: str, mark: str) -> None:
    answer = f"The key is: {mark.join(KEYS[kind])} and so on."
    for place in range(0, len(answer), 7):
        text, label = shown(cut(answer, place))
        assert label == "key", place
        assert len(text.partition(": ")[2]) < LONG_WORD, text
    assert shown(list(answer))[1] == "key"


@pytest.mark.parametrize("mark", ["\u00ad" * 30, "**" * 100, "\U000e0041" * 100], ids=["shy", "bold", "tags"])
@pytest.mark.parametrize("turned", [False, True], ids=["forwards", "backwards"])
def test_a_key_is_withheld_however_much_that_nobody_sees_stands_between_its_letters(mark: str, turned: bool) -> None:
    key = KEY[::-1] if turned else KEY
    for pieces in ([mark.join(key)], [f"{letter}{mark}" for letter in key]):
        text, label = shown(pieces)
        assert label == "key"
        assert key not in "".join(filter(str.isascii, text)).replace("*", "")


@pytest.mark.parametrize(
    "letter",
    [CANARY[0], CANARY[-1], "c", "7", "0", "S" * 30],
    ids=["canary's first", "canary's last", "c", "7", "0", "many"],  # each worker has a canary of its own
)
@pytest.mark.parametrize("blank", ["-", " ", "\n", "*", ". "], ids=["dash", "blank", "line", "star", "dot"])
def test_a_letter_and_endless_blanks_are_not_kept_back(letter: str, blank: str) -> None:
    """A model that has lost its way writes nothing but line ends or dots: what came before them is shown."""
    output_filter = OutputFilter(CANARY, contains_key, RULES)
    text = output_filter.feed(letter)
    for _ in range(60):
        text += output_filter.feed(blank * 100)
    assert len(text) >= 6_000 - LONGEST_DISGUISE
    leak = shown([f"{letter}{blank * 6_000}", *CANARY])
    assert leak[1] == "canary"


def test_a_word_that_goes_on_for_long_does_not_become_a_key_in_its_middle() -> None:
    """Only the end of what was shown is remembered: where it is cut off, no key may seem to begin."""
    text = "a long, long desk-proj-" + "a" * 600
    assert shown(list(text)) == (text, "")


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_leak_that_comes_letter_by_letter_is_withheld(disguise: str) -> None:
    for secret, label in ((CANARY, "canary"), (KEY, "key")):
        text, why = shown(list(f"Here: {DISGUISES[disguise](secret)}"))
        assert why == label
        assert len(text) < len("Here: ") + LONG_WORD


def test_a_leak_at_the_very_end_is_withheld() -> None:
    for secret in (CANARY, KEY):
        for disguise in DISGUISES.values():
            assert shown([disguise(secret)])[1]


ACCENTS = str.maketrans("aeou", "áéöů")
SAID: list[Disguise] = [
    str, str.upper, lambda text: text.replace(" ", "\n> "), lambda text: f"**{text}**", DISGUISES["fullwidth"],
    DISGUISES["letters of other scripts"], lambda text: text.translate(ACCENTS), "\u200b".join,
]  # fmt: skip


@pytest.mark.parametrize("said", SAID)
def test_a_run_of_the_rules_is_withheld_and_only_its_beginning_seen(said: Disguise) -> None:
    answer = f"I was told: {said(RULES)}"
    for place in range(0, len(answer), 7):
        text, label = shown(cut(answer, place))
        assert label == "rules"
        assert len("".join(filter(str.isalnum, text.partition(": ")[2]))) <= RULES_DOUBT
    assert shown(list(answer))[1] == "rules"


def test_words_that_the_rules_use_too_may_be_said() -> None:
    answer = f"{RULES[: RULES_RUN - 10]}, and so on. The payroll desk on the second floor knows more about pay."
    assert shown(list(answer)) == (answer, "")


def test_a_department_that_shows_its_rules_may_have_them_repeated() -> None:
    assert shown([f"I was told: {RULES}"], rules="") == (f"I was told: {RULES}", "")


def test_rules_shorter_than_a_run_are_no_secret() -> None:
    assert shown(["Be brief and kind."], rules="Be brief and kind.") == ("Be brief and kind.", "")


@given(st.text(max_size=400), st.lists(st.integers(0, 400), max_size=12))
def test_an_answer_without_a_leak_comes_whole_however_it_is_cut(text: str, places: list[int]) -> None:
    assert shown(cut(text, *(min(place, len(text)) for place in places))) == (text, "")


@given(
    st.sampled_from(sorted(DISGUISES)),
    st.sampled_from([CANARY, *KEYS.values()]),
    st.text(alphabet="ab cN7z\n", max_size=20),
    st.lists(st.integers(0, 600), max_size=30),
)
def test_a_leak_is_withheld_whatever_stands_before_it_and_however_it_is_cut(
    disguise: str, secret: str, before: str, places: list[int]
) -> None:
    leak = DISGUISES[disguise](secret)
    text, label = shown(cut(f"{before} {leak} ", *(min(place, len(leak)) for place in places)))
    assert label
    assert leak[:LONG_WORD] not in text


PROSE = """Everybody who works in the office may carry five unused days of annual leave into the next year [1]. They
have to be taken before 30 April 2027; what is left then is lost without pay. Ask Ms Nakamura (extension 7337) or
zay@hr.example if you are unsure.\n\n| Grade | Days |\n|---|---|\n| C2 | 28 |\n| C3 | 30 |\n
```python\nif left > 5:\n    lost = left - 5\n```
The basic rules of the works agreement of 736 BC stay; see `annual_leave.py` and https://intranet.example/a/b-c-d. """


def test_ordinary_prose_is_hardly_held_back() -> None:
    output_filter, waiting = OutputFilter(CANARY, contains_key, RULES), []
    received = 0
    for sent, piece in enumerate(PROSE * 20, start=1):
        received += len(output_filter.feed(piece))
        waiting.append(sent - received)
    assert sum(waiting) / len(waiting) < 2
    assert max(waiting) < 40


@pytest.mark.parametrize(
    "piece",
    [
        "sk-",
        "s\u200b",
        "\u200b",
        "073",
        "0073",
        "ｓｋ－",
        "c2st",
        "NrLX",
        "zay1",
        "736b2d",
        "A" * 16 + " ",
        "-ks",
        "you answer for ",
        "é",
    ],
)
def test_its_time_grows_with_the_length_only(piece: str) -> None:
    """Counted in processor time: how long a busy machine lets it wait says nothing."""

    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        best = []
        for _ in range(3):
            output_filter, started = OutputFilter(CANARY, contains_key, RULES), time.thread_time()
            for at in range(0, length, 40):
                output_filter.feed(text[at : at + 40])
            best.append(time.thread_time() - started)
        return min(best)

    assert seconds(20_000) < 12 * seconds(4_000) + 0.05
