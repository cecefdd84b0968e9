"""`make manage DO="verify_audit"`: a command of manage.py on what `make run` runs, with the settings it was given.

It has every role's address, the owner's too, as an operator has: whoever may read the data folder may do all of this.
"""

from __future__ import annotations

import os
import sys

from chatgrid.dev.services.files import read_json
from chatgrid.dev.steps import CHECKOUT, place_in


def main(arguments: list[str]) -> str:
    """Becomes the command; where nothing runs on the data folder it returns a sentence instead."""
    place = place_in(os.environ)
    if settings := read_json(place.environment):
        command = [sys.executable, str(CHECKOUT / "manage.py"), *arguments]
        os.execve(command[0], command, {**os.environ, **settings})  # noqa: S606 - a list of ours, no shell
    return f"Nothing runs on {place.folder}: start `make run` in another terminal first."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
