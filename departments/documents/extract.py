"""From an uploaded file to blocks of text, without trusting the file.

Rules
- Every file is read in a fresh child process of its own session, with limits on wall clock, processor, address space
  and open files, an environment that holds no setting of ours, and no way to write a file or open a connection.
- The directory of a ZIP is summed up before anything is unpacked.
- Whatever happens in the child, the caller gets an `Extracted` or an `ExtractionFailed` with a sentence for the
  person; an abort of the child is "could not be read". Nothing outlives the wall clock: the whole process group is
  killed, and the child's own alarm ends it if this process is gone.
- A limit that is passed refuses the file. There is never a part of a text that looks like the whole.

POSIX only, because of the limits.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

from departments.documents.detect import detect_file
from departments.documents.extracted import (
    DEFAULT_LIMITS,
    ZIP_KINDS,
    Block,
    Extracted,
    ExtractionFailed,
    Kind,
    Limits,
    Locator,
    Reason,
    UnsupportedFile,
)
from departments.documents.unpacked import check_unpacked_size

__all__ = [
    "Block",
    "Extracted",
    "ExtractionFailed",
    "Kind",
    "Limits",
    "Locator",
    "Reason",
    "UnsupportedFile",
    "extract",
]

CHILD = "departments.documents.extract_child"
ROOT = Path(__file__).resolve().parents[2]
READ_BYTES = 1 << 20
# how the kernel ends a child that passes its processor time, and its own alarm one that hangs
SIGNALS_OF_TIME = {signal.SIGXCPU, signal.SIGALRM}


def extract(
    path: Path, filename: str, limits: Limits = DEFAULT_LIMITS, *, ocr_languages: str = "eng", child: str = CHILD
) -> Extracted:
    """The text of the file at `path`, whose uploader called it `filename` (used for ties between kinds of text only).

    Blocks for up to `limits.seconds`. Where `tesseract` is on PATH, pages of a PDF that are pictures are recognised
    with `ocr_languages`, in its notation ("eng+deu"). `child` is the module to run; tests put a misbehaving one there.
    Raises ExtractionFailed.
    """
    with path.open("rb") as file:
        kind = detect_file(file, filename)
        if kind in ZIP_KINDS:
            check_unpacked_size(file, limits)
        job = {
            "kind": kind,
            "limits": limits.to_json(),
            "tesseract": shutil.which("tesseract"),
            "languages": ocr_languages,
        }
        return _understand(*run_child(file, json.dumps(job), limits, child))


def run_child(file: BinaryIO, job: str, limits: Limits, child: str) -> tuple[bytes, int]:
    """What a fresh child with nothing but the file at hand answers, and its exit code. Raises ExtractionFailed."""
    process = subprocess.Popen(
        [sys.executable, "-s", "-P", "-m", child, job],
        stdin=file,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        cwd="/",
        start_new_session=True,
    )
    try:
        answer = _read_answer(process, limits)
        process.wait(timeout=1)
    except subprocess.TimeoutExpired as error:
        raise ExtractionFailed(Reason.TIMEOUT) from error
    finally:
        _kill_group(process)
    return answer, process.returncode


def _environment() -> dict[str, str]:
    """What Python needs to start and to find this package, and where tesseract keeps its languages."""
    names = ("TESSDATA_PREFIX", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    found = {name: os.environ[name] for name in names if name in os.environ}
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **found,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _read_answer(process: subprocess.Popen[bytes], limits: Limits) -> bytes:
    """What the child writes until it closes its end, within the wall clock and the cap."""
    assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
    deadline = time.monotonic() + limits.seconds
    answer = bytearray()
    with process.stdout as pipe:
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([pipe], [], [], left)[0]:
                continue
            part = os.read(pipe.fileno(), READ_BYTES)
            answer += part
            if len(answer) > limits.output_bytes:
                raise ExtractionFailed(Reason.TOO_LARGE)
            if not part:
                return bytes(answer)
    raise ExtractionFailed(Reason.TIMEOUT)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Ends whatever is left of the child's session; a helper that it started may have outlived it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # all have ended; macOS says "not permitted" for a group of ended processes
    process.wait()


def _understand(answer: bytes, returncode: int) -> Extracted:
    if returncode < 0:
        raise ExtractionFailed(Reason.TIMEOUT if -returncode in SIGNALS_OF_TIME else Reason.CORRUPT)
    try:
        message = json.loads(answer)
        if "failed" in message:
            raise ExtractionFailed(Reason(message["failed"]["reason"]), str(message["failed"]["sentence"]))
        return Extracted.from_json(message["extracted"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ExtractionFailed(Reason.CORRUPT) from error
