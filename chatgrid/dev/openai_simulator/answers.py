"""Composing an answer out of the passages in the prompt: chosen sentences, each with its citation, nothing invented.

- A sentence is rated by the question's terms it holds, rare ones counting more; its headings and its neighbour help.
- When the best sentence covers too little of the question, the answer says that the documents do not answer it; where
  the prompt is in doubt of its passages, it must cover most of it.
- When two passages say the same with different figures, the one that names the newer date or version is believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from chatgrid.dev.openai_simulator.prompt import Passage, Prompt
from chatgrid.dev.openai_simulator.rating import Rated, rate
from chatgrid.dev.openai_simulator.recency import MONTHS, YEAR, recency
from chatgrid.dev.openai_simulator.sentences import INTRODUCES, NUMBER, Sentence

ENOUGH_COVERED = 0.34
ENOUGH_KNOWN = 0.42
STATED_COVERED = 0.8
STATED_KNOWN = 0.9
WORTH_ADDING = 0.72
WORTH_COMPARING = 0.4
CONSIDERED = 30
SAME_SUBJECT = 0.6
MOST_SENTENCES = 4
MOST_ITEMS = 8

NO_DOCUMENT = "No document was given to me with this question, so I have nothing to answer it from."
NO_QUESTION = "There was no question in this request. Please ask one about your documents."
NOT_ANSWERED = "The documents I was given do not answer this question."

LEANS_BACK = re.compile(
    r"^(?:it|they|this|these|those|he|she|such|however|otherwise|in (?:that|this) case)\b", re.IGNORECASE
)


def compose(prompt: Prompt) -> str:
    """The answer to a prompt, in Markdown."""
    if prompt.passages is None:
        return NO_DOCUMENT
    if not prompt.question.strip():
        return NO_QUESTION
    rated = rate(prompt)
    if not _is_answered(rated, prompt.in_doubt):
        return _not_answered(prompt.passages)
    places = {_place(one.sentence): one.sentence for one in rated}
    useful = [one for one in rated if not _introduces_nothing(one.sentence, places)]
    return _written(_choose(useful or rated), places)


def _is_answered(rated: list[Rated], in_doubt: bool) -> bool:
    """Whether the best sentence covers enough, and the passages together know the words of the question."""
    known, covered = (STATED_KNOWN, STATED_COVERED) if in_doubt else (ENOUGH_KNOWN, ENOUGH_COVERED)
    if not rated or rated[0].known < known:
        return False
    return max(one.covered for one in rated) >= covered


def _not_answered(passages: Iterable[Passage]) -> str:
    titles = list(dict.fromkeys(passage.document for passage in passages if passage.document))
    if not titles:
        return NOT_ANSWERED
    return f"{NOT_ANSWERED} They are about: {'; '.join(titles[:5])}."


def _choose(rated: list[Rated]) -> list[Rated]:
    """The sentences worth saying, without repetition and without what a newer passage overrules."""
    best = rated[0].score
    chosen: list[Rated] = []
    for one in rated[:CONSIDERED]:
        twin = next((other for other in chosen if _same_subject(one, other)), None)
        if twin is None and one.score >= WORTH_ADDING * best:
            chosen.append(one)
        elif twin and one.score >= WORTH_COMPARING * best and _overrules(one, twin):
            chosen[chosen.index(twin)] = one
    return chosen[:MOST_SENTENCES]


def _same_subject(one: Rated, other: Rated) -> bool:
    mine, theirs = _subject(one), _subject(other)
    smaller = min(len(mine), len(theirs))
    return smaller > 0 and len(mine & theirs) / smaller >= SAME_SUBJECT


def _subject(rated: Rated) -> frozenset[str]:
    return frozenset(term for term in rated.terms if not term[0].isdigit() and term not in MONTHS)


def _overrules(one: Rated, other: Rated) -> bool:
    """Whether one passage contradicts the other and is the newer of the two."""
    if one.sentence.passage is other.sentence.passage:
        return False
    if _figures(one) == _figures(other):
        return False
    return recency(one.sentence.passage) > recency(other.sentence.passage)


def _figures(rated: Rated) -> set[str]:
    return set(NUMBER.findall(rated.sentence.text)) - set(YEAR.findall(rated.sentence.text))


Place = tuple[int, int]
Places = dict[Place, Sentence]


def _written(chosen: list[Rated], places: Places) -> str:
    """Prose of up to four sentences, with lists where the source has lists, in the order of the source."""
    first = chosen[0].sentence
    items = _items_around(first, chosen)
    if items:
        return _as_list(_lead(items, places), items)
    order = {id(one.sentence.passage): rank for rank, one in reversed(list(enumerate(chosen)))}
    sentences = sorted((one.sentence for one in chosen), key=lambda one: (order[id(one.passage)], one.place))
    text = " ".join(_part(sentence, sentences, places) for sentence in sentences)
    return re.sub(r"\s*\n\n\s*", "\n\n", text).strip()


def _part(sentence: Sentence, chosen: list[Sentence], places: Places) -> str:
    """A sentence as it is said: with its list, or after the sentence it points back to."""
    items = _items_after(sentence, places)
    if items:
        return f"\n\n{_as_list(sentence, items)}\n\n"
    before = _neighbour(sentence, places, -1)
    if before and before not in chosen and LEANS_BACK.match(sentence.text):
        return f"{_cited(before)} {_cited(sentence)}"
    return _cited(sentence)


def _place(sentence: Sentence) -> Place:
    return id(sentence.passage), sentence.place


def _neighbour(sentence: Sentence, places: Places, step: int) -> Sentence | None:
    return places.get((id(sentence.passage), sentence.place + step))


def _introduces_nothing(sentence: Sentence, places: Places) -> bool:
    """Whether it ends in a colon and what should follow was left in another passage."""
    return bool(INTRODUCES.search(sentence.text)) and not _items_after(sentence, places)


def _items_after(sentence: Sentence, places: Places) -> list[Sentence]:
    """The list a sentence like "You need:" introduces."""
    items: list[Sentence] = []
    following = _neighbour(sentence, places, 1) if INTRODUCES.search(sentence.text) else None
    while following and following.is_item and len(items) < MOST_ITEMS:
        items.append(following)
        following = _neighbour(following, places, 1)
    return items


def _items_around(first: Sentence, chosen: list[Rated]) -> list[Sentence]:
    """The chosen items, when the best sentence is a list item and others of its list were chosen too."""
    items = [one.sentence for one in chosen if one.sentence.is_item and one.sentence.passage is first.passage]
    if not first.is_item or len(items) < 2:
        return []
    return sorted(items, key=lambda sentence: sentence.place)


def _lead(items: list[Sentence], places: Places) -> Sentence | None:
    """The sentence right before the first item, when it introduces the list."""
    before = _neighbour(items[0], places, -1)
    return before if before and INTRODUCES.search(before.text) else None


def _as_list(lead: Sentence | None, items: list[Sentence]) -> str:
    lines = [f"- {_cited(item)}" for item in items]
    return "\n".join([lead.text, "", *lines] if lead else lines)


def _cited(sentence: Sentence) -> str:
    """The sentence with its citation behind it and a full stop between, where it has none of its own."""
    text = sentence.text[0].upper() + sentence.text[1:].rstrip()
    if not text.endswith((".", "!", "?", ":", "…")):
        text = text.rstrip(";,") + "."
    return f"{text} [{sentence.passage.number}]"
