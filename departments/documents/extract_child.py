"""The child process that reads one file: `python -m departments.documents.extract_child JOB`, by extract.py only.

The file is standard input; JOB is JSON: kind, limits, the path of tesseract or null, its languages. The answer is one
JSON object on standard output: {"extracted": ...} or {"failed": {"reason", "sentence"}}.

Rules
- Limits first, then the hook that refuses connections and other programs, then the libraries, then the file.
- Libraries may print what they like: the pipe of the answer is moved away from them before.
- The text is cleaned here, so that no unclean text ever leaves.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any

from departments.documents.extracted import Extracted, ExtractionFailed, Kind, Limits, Reason
from departments.documents.extractors.draft import Options

OPEN_FILES = 64
CONNECTING = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
STARTING = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty")


def main(job: str) -> None:
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    fields = json.loads(job)
    limits = Limits.from_json(fields["limits"])
    set_limits(limits)
    refuse_ways_out(fields["tesseract"])
    options = Options(Kind(fields["kind"]), limits, fields["tesseract"], fields["languages"])
    message = json.dumps(_answer(options), ensure_ascii=False).encode("utf-8", "replace")
    with os.fdopen(answer, "wb") as pipe:
        pipe.write(message)


def set_limits(limits: Limits) -> None:
    """One processor second more than the wall clock as hard limit, so that the soft one can say why."""
    wanted = {
        resource.RLIMIT_AS: (limits.memory_bytes, limits.memory_bytes),
        resource.RLIMIT_CPU: (limits.seconds, limits.seconds + 1),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_NOFILE: (OPEN_FILES, OPEN_FILES),
        resource.RLIMIT_CORE: (0, 0),
    }
    for name, (soft, hard) in wanted.items():
        try:
            resource.setrlimit(name, (soft, hard))
        except (ValueError, OSError):
            pass  # macOS refuses some of them; wall clock and caps still hold
    # the parent kills at the deadline; this ends the child if the parent itself was killed
    signal.alarm(limits.seconds + 2)


def refuse_ways_out(tesseract: str | None) -> None:
    """No library may connect or start a program, whatever the file asks for."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CONNECTING or event in STARTING:
            raise PermissionError(f"{event} is not allowed while a file is read.")
        if event == "subprocess.Popen" and arguments[0] != tesseract:
            raise PermissionError(f"{arguments[0]} may not be started while a file is read.")

    sys.addaudithook(refuse)


def _answer(options: Options) -> dict[str, Any]:
    try:
        return {"extracted": _read_standard_input(options).to_json()}
    except ExtractionFailed as failure:
        return _failed(failure)
    except MemoryError:
        return _failed(ExtractionFailed(Reason.MEMORY))
    except Exception:
        # A damaged file makes a library raise whatever it likes. The uploader sees that it could not be read.
        return _failed(ExtractionFailed(Reason.CORRUPT))


def _read_standard_input(options: Options) -> Extracted:
    # imported late: the libraries below are to load under the limits
    from departments.documents.extractors.collect import read

    with os.fdopen(0, "rb") as file:
        return read(file, options)


def _failed(failure: ExtractionFailed) -> dict[str, Any]:
    return {"failed": {"reason": failure.reason.value, "sentence": failure.sentence}}


if __name__ == "__main__":
    main(sys.argv[1])
