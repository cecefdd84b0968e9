"""The test bench: a department admin tries the search, keeps golden questions, and changes how documents are embedded.

Rules:
- Only who manages a department's documents sees it; what is tried here is a call like any other: budget and record.
- Everything works as forms and pages. What a form did is said on the page it leads to.
- A refusal of the door (a budget, no key) is the sentence on the page, with the question still in the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from audit.events import Event
from audit.writer import arecord
from chatgrid.documents.common import department_of, with_store
from chatgrid.documents.present import heading_of
from chatgrid.documents.threshold import threshold_of
from chatgrid.flood import shield
from departments.access import NotFound
from departments.calls.caller import CallEndedEarly, Caller
from departments.calls.models import CatalogueModel
from departments.documents import generations, golden
from departments.documents.events import search_entry
from departments.documents.generations import NotNow, Shadow
from departments.documents.golden import GoldenQuestion, GoldenResult, GoldenRun
from departments.documents.records import Recipe
from departments.documents.search import Found, SearchResult, search
from departments.documents.store import open_store
from departments.http import PersonRequest, client_address, require_person
from departments.models import Department
from departments.roles import Right

TRIED = 10  # passages shown for a question
BY_HAND = "Asked by hand"
COMPARED = "Compared before a switch"
CHART_HEIGHT, BAR, GAP = 60, 12, 4  # of the drawing, in its own units


class QuestionForm(forms.Form):
    """A question to try."""

    question = forms.CharField(
        max_length=golden.LONGEST_QUESTION, error_messages={"required": "Write a question first."}
    )


class GoldenForm(QuestionForm):
    """A question and the passage that answers it; without a passage nothing here answers it."""

    version = forms.UUIDField(required=False)
    ordinal = forms.IntegerField(min_value=0, required=False)


class RecipeForm(forms.Form):
    """How documents are to be embedded."""

    model = forms.ChoiceField(label="Embedding model")
    dimensions = forms.IntegerField(
        label="Numbers in a vector",
        min_value=generations.LEAST_DIMENSIONS,
        max_value=generations.MOST_DIMENSIONS,
        help_text="More tell more apart and take more space. The model's own size is safe.",
    )
    passage_tokens = forms.IntegerField(
        label="Longest passage, in tokens",
        min_value=generations.SHORTEST,
        max_value=generations.LONGEST,
        help_text="Shorter passages cite more exactly, longer ones keep more context. 100 tokens are about 75 words.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = CatalogueModel.objects.filter(kind=CatalogueModel.Kind.EMBEDDING).values_list("name", flat=True)
        names = dict.fromkeys([settings.EMBEDDING_MODEL, *known])
        self.fields["model"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]


@dataclass(frozen=True)
class ShownGolden:
    """A golden question with what became of it in the latest run."""

    question: GoldenQuestion
    result: GoldenResult | None


@dataclass(frozen=True)
class Bar:
    """One run in the drawing."""

    x: int
    y: float
    height: float
    run: GoldenRun


@dataclass(frozen=True)
class Bench:
    """Everything the page shows of the store."""

    recipe: Recipe
    questions: list[ShownGolden]
    runs: list[GoldenRun]
    shadow: Shadow | None
    kept: Recipe | None

    @property
    def bars(self) -> list[Bar]:
        """The runs as a drawing, oldest first."""
        heights = [(run, max(1.0, CHART_HEIGHT * run.percent / 100)) for run in reversed(self.runs)]
        return [
            Bar(place * (BAR + GAP), CHART_HEIGHT - height, height, run) for place, (run, height) in enumerate(heights)
        ]

    @property
    def chart_width(self) -> int:
        return max(1, len(self.runs)) * (BAR + GAP)


@require_GET
@require_person
@with_store
def bench(request: PersonRequest, slug: str) -> HttpResponse:
    """The page; `question` in the address stands in the box, to be tried."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    asked = request.GET.get("question", "").replace("\x00", "")[: golden.LONGEST_QUESTION]
    return _page(request, department, form=QuestionForm(initial={"question": asked}))


@require_POST
@require_person
@shield("ask")
@with_store
def try_question(request: PersonRequest, slug: str) -> HttpResponse:
    """What a question finds, with its place by vector, by words and in all."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    form = QuestionForm(request.POST)
    if not form.is_valid():
        return _page(request, department, form=form, status=400)
    try:
        result = async_to_sync(_try)(department, _caller(request), form.cleaned_data["question"])
    except CallEndedEarly as early:
        form.add_error("question", early.sentence)
        return _page(request, department, form=form, status=429)
    return _page(request, department, form=form, result=result)


@require_POST
@require_person
@with_store
def keep(request: PersonRequest, slug: str) -> HttpResponse:
    """Keep a golden question: with the passage that is right, or with none."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    form = GoldenForm(request.POST)
    if form.errors.keys() - {"question"}:
        raise NotFound("There is no such passage.")  # no button of the page names one like that
    if not form.is_valid():
        return _page(request, department, form=form, status=400)
    if async_to_sync(_keep)(department, _caller(request), form.cleaned_data):
        messages.success(request, "The question is kept. It is asked again after each change.")
    else:
        messages.warning(request, golden.TOO_MANY)
    return redirect("documents:bench", department.slug)


@require_POST
@require_person
@with_store
def forget(request: PersonRequest, slug: str, question_id: UUID) -> HttpResponse:
    """Remove a golden question."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    if not async_to_sync(_forget)(department, _caller(request), question_id):
        raise NotFound("There is no such question.")
    messages.success(request, "The question is removed.")
    return redirect("documents:bench", department.slug)


@require_POST
@require_person
@shield("ask")
@with_store
def measure(request: PersonRequest, slug: str) -> HttpResponse:
    """Ask all golden questions now, of what is searched or (`shadow`) of what is prepared."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    try:
        run = async_to_sync(_measure)(department, _caller(request), shadow="shadow" in request.POST)
    except (CallEndedEarly, NotNow) as refusal:
        messages.error(request, refusal.sentence)
    else:
        if run is None:
            messages.info(request, "There are no golden questions yet: try a question and keep it.")
        else:
            messages.success(request, f"{run.found} of {run.questions} questions found what they should.")
    return redirect("documents:bench", department.slug)


@require_POST
@require_person
@shield("upload")
@with_store
def rebuild(request: PersonRequest, slug: str) -> HttpResponse:
    """Begin a re-embedding beside the running search."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    form = RecipeForm(request.POST)
    if not form.is_valid():
        return _page(request, department, recipe_form=form, status=400)
    wanted = Recipe(generation=0, **form.cleaned_data)
    return _act(request, department, generations.start, wanted, done="It has begun. The chat goes on as before.")


@require_POST
@require_person
@with_store
def change(request: PersonRequest, slug: str) -> HttpResponse:
    """Switch to what was prepared (`act` is `switch`), go back (`undo`), or give it up (`give_up`)."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    acts = {
        "switch": (generations.switch, "The chat answers from the new passages now. You can still go back."),
        "undo": (generations.undo, "What was used before is back, or is being brought up to date below."),
        "give_up": (generations.give_up, "What was prepared is thrown away. The chat was never touched."),
    }
    act, done = acts.get(request.POST.get("act", ""), (None, ""))
    if act is None:
        raise NotFound("There is no such act.")
    return _act(request, department, act, done=done)


def _act(request: PersonRequest, department: Department, act: Any, *more: Any, done: str) -> HttpResponse:
    try:
        async_to_sync(_in_store)(department, act, _caller(request), *more)
    except NotNow as refusal:
        messages.warning(request, refusal.sentence)
    else:
        messages.success(request, done)
    return redirect("documents:bench", department.slug)


def _page(
    request: PersonRequest,
    department: Department,
    *,
    form: forms.Form | None = None,
    recipe_form: RecipeForm | None = None,
    result: SearchResult | None = None,
    status: int = 200,
) -> HttpResponse:
    shown: Bench = async_to_sync(_look)(department)
    recipe = shown.recipe
    context = {
        "department": department,
        "bench": shown,
        "form": form or QuestionForm(),
        "recipe_form": recipe_form
        or RecipeForm(
            initial={"model": recipe.model, "dimensions": recipe.dimensions, "passage_tokens": recipe.passage_tokens}
        ),
        "result": result,
        "found": [_shown(found) for found in result.passages] if result else [],
        "percent": round(100 * result.probability) if result else 0,
        "threshold": threshold_of(recipe.model, ((each.question, each.result) for each in shown.questions)),
        "chosen_model": settings.EMBEDDING_MODEL if recipe.model != settings.EMBEDDING_MODEL else "",
        "chart_height": CHART_HEIGHT,
        "bar_width": BAR,
    }
    return render(request, "documents/bench.html", context, status=status)


def _shown(found: Found) -> dict[str, Any]:
    return {"passage": found, "heading": heading_of(found.heading_path), "score": round(100 * found.score)}


def _caller(request: PersonRequest) -> Caller:
    return Caller(request.person.id, request.person.name, client_address(request))


async def _look(department: Department) -> Bench:
    async with open_store(department) as store:
        runs = await golden.list_runs(store)
        recipe = await store.recipe()
        latest = next((run for run in runs if run.generation == recipe.generation), None)
        results = await golden.results_of(store, latest.id) if latest else {}
        questions = [ShownGolden(each, results.get(each.id)) for each in await golden.list_questions(store)]
        return Bench(recipe, questions, runs, await generations.shadow_of(store), await generations.kept_of(store))


async def _try(department: Department, caller: Caller, question: str) -> SearchResult:
    async with open_store(department) as store:
        result = await search(store, department, caller, question, limit=TRIED)
    details = {"passages": len(result.passages), "confident": result.confident}
    await arecord(search_entry(Event.SEARCH_TESTED, department, caller, details))
    return result


async def _keep(department: Department, caller: Caller, wanted: dict[str, Any]) -> bool:
    async with open_store(department) as store:
        document_id, quote = None, ""
        if wanted["version"]:
            passage = await store.get_passage(wanted["version"], wanted["ordinal"] or 0)
            if passage is None:
                raise NotFound("There is no such passage.")
            document_id, quote = passage.document_id, passage.text
        return await golden.add(store, caller, wanted["question"], document_id, quote)


async def _forget(department: Department, caller: Caller, question_id: UUID) -> bool:
    async with open_store(department) as store:
        return await golden.remove(store, caller, question_id)


async def _measure(department: Department, caller: Caller, *, shadow: bool) -> GoldenRun | None:
    async with open_store(department) as store:
        if not shadow:
            return await golden.measure(store, caller, BY_HAND, recipe=await store.recipe())
        prepared = await generations.shadow_of(store)
        if prepared is None or not prepared.is_ready:
            raise NotNow(generations.NOT_READY)
        return await golden.measure(store, caller, COMPARED, recipe=prepared.recipe, tables="_shadow")


async def _in_store(department: Department, act: Any, *arguments: Any) -> None:
    async with open_store(department) as store:
        await act(store, *arguments)
