"""The hook for an outside classifier: somebody else's callable, a text in and labels out, under a time limit of ours.

Rules:
- CHATGRID_CLASSIFIER names it by its dotted path; without that there is none.
- It runs in a thread beside the work, never on the event loop, and is waited for `CLASSIFIER_SECONDS` a text. What it
  says later is lost, and a thread that hangs holds nothing up, not even the end of the process.
- `AT_ONCE` texts are with it at the same time; while all of them hang, further ones are not waited for at all.
- One that fails, hangs or says something odd costs its labels and nothing else: the text goes its way with the label
  "classifier:failed" or "classifier:late", and the operator reads why.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate

from django.conf import settings
from django.utils.module_loading import import_string

AT_ONCE = 8
MOST_LABELS = 20
LONGEST_LABEL = 60
PREFIX = "classifier:"

Classifier = Callable[[str], Sequence[str]]
logger = logging.getLogger(__name__)
_places = threading.BoundedSemaphore(AT_ONCE)


def has_classifier() -> bool:
    return bool(settings.CLASSIFIER)


def classify(text: str) -> list[str]:
    """The classifier's labels, each with its prefix. Waits up to `CLASSIFIER_SECONDS`; does not raise."""
    if not has_classifier():
        return []
    if not _places.acquire(blocking=False):
        logger.error("the classifier %s hangs on %d texts: this one is not looked at", settings.CLASSIFIER, AT_ONCE)
        return [f"{PREFIX}late"]
    answer: Future[list[str]] = Future()
    threading.Thread(target=_ask, args=(text, answer), name="classifier", daemon=True).start()
    try:
        return answer.result(settings.CLASSIFIER_SECONDS)
    except TooLate:
        logger.error("the classifier %s took longer than %s s", settings.CLASSIFIER, settings.CLASSIFIER_SECONDS)
        return [f"{PREFIX}late"]


def _ask(text: str, answer: Future[list[str]]) -> None:
    try:
        classifier: Classifier = import_string(settings.CLASSIFIER)
        answer.set_result(_labels(classifier(text)))
    except Exception as error:
        # somebody else's code: the operator reads that it failed, and the text goes its way without its labels
        logger.error("the classifier %s failed: %s", settings.CLASSIFIER, type(error).__name__)
        answer.set_result([f"{PREFIX}failed"])
    finally:
        _places.release()


def _labels(said: Sequence[str]) -> list[str]:
    """At most `MOST_LABELS`, each short and on one line: they are shown and recorded."""
    if isinstance(said, str):
        raise TypeError("a classifier gives a sequence of labels")
    return [PREFIX + " ".join(str(label).split())[:LONGEST_LABEL] for label in list(said)[:MOST_LABELS]]
