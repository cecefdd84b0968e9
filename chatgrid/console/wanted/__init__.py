"""What should be, as a whole: read from a file, compared with what is, shown, and only then done.

One way for all of it: a CSV of limits, a change of many limits at once, and a company as code each become a list of
`Change`; the list is shown; `apply_changes` does exactly that list or nothing.
"""

from __future__ import annotations
