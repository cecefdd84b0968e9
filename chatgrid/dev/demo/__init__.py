"""The demo company: people, departments, a handbook of real length, and labelled questions about it.

Everything here is invented. It is what a fresh install shows on a laptop and what retrieval quality is measured on;
nothing that runs in production imports it.

- `company.py`: who works where. `handbook/<company>/<department>/*.md`: the sources. `render.py`: the real files.
- `questions.jsonl`: one question a line about the first company. `department` is where it is asked, `document` the stem
  of the source that answers it, `passage` a quote from one line of it. `kind` is keyword, paraphrase, version (an older
  edition contradicts the answer), unanswerable (document and passage are null) or other_department (the document
  belongs to `answer_department`, and the department asked must not find it).
"""
