"""A key in a field that is for something else: a reason, a name, an instruction. Refused before anything reads it.

What is typed there is kept in our database, in the record for years and in a form that is carried over a sign-in. The
field for keys itself is called `key`, and only the pages that exchange one have it.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from departments.keys.patterns import contains_key

FIELD = "key"


def refused_key(request: HttpRequest) -> HttpResponse | None:
    """The page that says so, without a character of what was typed; None where every field is in order."""
    if request.method != "POST":
        return None
    for name, values in request.POST.lists():
        if contains_key(name) or (name != FIELD and any(contains_key(value) for value in values)):
            return render(request, "errors/problem.html", _sentence(name), status=400)
    return None


def _sentence(name: str) -> dict[str, str]:
    field = "" if contains_key(name) else f" “{name.replace('_', ' ')}”"
    return {
        "title": "There is a key in a field that is for something else",
        "sentence": f"The field{field} holds something that looks like a key, so nothing was saved. Take it out and "
        "send the form again; a key is pasted into the field for keys only. If others could see it, have it exchanged.",
    }
