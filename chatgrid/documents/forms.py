"""What a department admin sends when uploading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile


class SeveralFilesInput(forms.ClearableFileInput):
    """One field, many files."""

    allow_multiple_selected = True


class SeveralFilesField(forms.FileField):
    """Cleans to a list of files. A file's name is cut, never refused: it is a label and no path."""

    widget = SeveralFilesInput

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile[Any]]:
        files: Sequence[Any] = data if isinstance(data, (list, tuple)) else [data]
        return [super(SeveralFilesField, self).clean(file, initial) for file in files or [None]]


class UploadForm(forms.Form):
    """Files for a department; with `replaces`, one file that becomes the new version of that document."""

    documents = SeveralFilesField(allow_empty_file=True)  # an empty file gets its sentence from accept_upload
    replaces = forms.UUIDField(required=False)
    folder = forms.CharField(required=False, max_length=4000)  # where a script found the file: a label

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("replaces") and len(cleaned.get("documents", [])) > 1:
            raise forms.ValidationError("Choose one file: it becomes the new version of this document.")
        return cleaned


class ReviewForm(forms.Form):
    """The day of a document's review; none takes it away."""

    review_on = forms.DateField(required=False)
