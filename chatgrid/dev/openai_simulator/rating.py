"""Rating the sentences of the passages against a question: rare terms count more, headings and neighbours help."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

from chatgrid.dev.openai_simulator.prompt import Passage, Prompt
from chatgrid.dev.openai_simulator.recency import superseded
from chatgrid.dev.openai_simulator.sentences import INTRODUCES, NUMBER, Sentence, sentences_of
from chatgrid.dev.openai_simulator.words import terms_of

HEADING_SHARE = 0.5
HEADING_ALONE = 0.8
NEIGHBOUR_SHARE = 0.25
ANSWERED_SHARE = 0.9
FITTING_FORM = 1.15
REPLACED_SHARE = 0.65

ASKS_FOR_FIGURE = re.compile(r"\bhow (?:many|much|long|often|far|old|high)\b|\bwhen\b|\bwhat time\b", re.IGNORECASE)
ASKS_FOR_STEPS = re.compile(r"\bhow (?:do|can|should|to|must)\b|\bsteps\b", re.IGNORECASE)


@dataclass(frozen=True)
class Rated:
    """`covered` is the share of the question the sentence speaks to, `known` the share all passages together hold."""

    sentence: Sentence
    terms: frozenset[str]
    score: float
    covered: float
    known: float


def _question_terms(prompt: Prompt) -> dict[str, float]:
    """The question's terms with weights. A short question leans on the one before it."""
    question = ASKS_FOR_FIGURE.sub("", prompt.question)
    weights = dict.fromkeys(terms_of(question), 1.0)
    if len(weights) < 3 and prompt.asked_before:
        weights = {**dict.fromkeys(terms_of(prompt.asked_before[-1]), 0.4), **weights}
    return weights


def rate(prompt: Prompt) -> list[Rated]:
    """Every sentence of every passage with its score, best first."""
    passages = prompt.passages or []
    sentences = [sentence for passage in passages for sentence in sentences_of(passage)]
    terms = [frozenset(terms_of(sentence.text)) for sentence in sentences]
    weights = _weights(_question_terms(prompt), sentences, terms)
    known = _weight_of(frozenset().union(*terms, *map(_heading_terms, passages)), weights)
    form, replaced = _wanted_form(prompt.question), superseded(passages)
    rated = []
    for i, sentence in enumerate(sentences):
        covered = _covered(i, sentences, terms, weights)
        score = covered * _quality(sentence, len(terms[i]), form, replaced)
        rated.append(Rated(sentence, terms[i], score, covered, known))
    return sorted(rated, key=lambda one: -one.score)


def _quality(sentence: Sentence, length: int, form: re.Pattern[str] | None, replaced: set[str]) -> float:
    """What else speaks for a sentence: its form, its length, its place, and that its document is not replaced."""
    fitting = FITTING_FORM if form and form.search(sentence.text) else 1.0
    current = REPLACED_SHARE if sentence.passage.document in replaced else 1.0
    long_winded = 1.0 + max(0, length - 25) / 50
    early = (1.0 + 0.2 / max(1, sentence.passage.number)) * (1.0 + 0.1 / (1 + sentence.place))
    return fitting * current * early / long_winded


def _weights(asked: dict[str, float], sentences: list[Sentence], terms: list[frozenset[str]]) -> dict[str, float]:
    """How much each term of the question tells: the rarer among the sentences, the more. The sum is 1."""
    frequency = Counter(term for held in terms for term in held)
    raw = {term: weight * math.log(1 + len(sentences) / (frequency[term] or 0.5)) for term, weight in asked.items()}
    total = sum(raw.values()) or 1.0
    return {term: weight / total for term, weight in raw.items()}


def _covered(i: int, sentences: list[Sentence], terms: list[frozenset[str]], weights: dict[str, float]) -> float:
    """The share of the question a sentence speaks to, 0 to 1. A question in the text is no answer; what follows is."""
    sentence = sentences[i]
    if sentence.text.endswith("?"):
        return 0.0
    heading = _heading_terms(sentence.passage) - terms[i]
    neighbours = _neighbour_terms(i, sentences, terms) - terms[i] - heading
    answers_a_question = bool(neighbours) and sentences[i - 1].text.endswith("?")
    own, by_heading, by_neighbour = (_weight_of(held, weights) for held in (terms[i], heading, neighbours))
    share = ANSWERED_SHARE if answers_a_question else NEIGHBOUR_SHARE
    if not own and not answers_a_question and by_heading < HEADING_ALONE:
        return 0.0
    return own + HEADING_SHARE * by_heading + share * by_neighbour


def _wanted_form(question: str) -> re.Pattern[str] | None:
    """What a good answer looks like: "how many" wants a figure, "how do I" wants steps."""
    if ASKS_FOR_FIGURE.search(question):
        return NUMBER
    return INTRODUCES if ASKS_FOR_STEPS.search(question) else None


def _heading_terms(passage: Passage) -> frozenset[str]:
    return frozenset(terms_of(f"{passage.document} {passage.section}"))


def _neighbour_terms(i: int, sentences: list[Sentence], terms: list[frozenset[str]]) -> frozenset[str]:
    if i == 0 or sentences[i - 1].passage is not sentences[i].passage:
        return frozenset()
    return terms[i - 1]


def _weight_of(terms: frozenset[str], weights: dict[str, float]) -> float:
    return sum(weight for term, weight in weights.items() if term in terms)
