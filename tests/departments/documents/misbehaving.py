"""A child process that does not do its work: what it does instead comes in the field for OCR languages."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from departments.documents.extract_child import refuse_ways_out


def say(message: object) -> None:
    sys.stdout.write(json.dumps(message))
    sys.stdout.flush()


def tell(sentence: str) -> None:
    say({"failed": {"reason": "corrupt", "sentence": sentence}})


def hang() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def hang_after_the_answer() -> None:
    tell("done")
    os.close(1)
    hang()


def leave_a_helper_behind(note: str) -> None:
    helper = subprocess.Popen(["/bin/sleep", "600"])
    Path(note).write_text(str(helper.pid))
    tell("done")


def babble() -> None:
    while True:
        sys.stdout.write("x" * 65_536)


def lie(answer: str) -> None:
    sys.stdout.write(answer)


def list_environment() -> None:
    tell(" ".join(sorted(os.environ)))


def connect(port: str) -> None:
    refuse_ways_out(None)
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=1)
    except PermissionError as error:
        tell(str(error))


def start_a_program() -> None:
    refuse_ways_out("/usr/bin/tesseract")
    try:
        subprocess.run(["/bin/true"], check=True)
    except PermissionError as error:
        tell(str(error))


def main() -> None:
    name, _, argument = json.loads(sys.argv[1])["languages"].partition(" ")
    acts = {"hang": hang, "hang_after_the_answer": hang_after_the_answer, "babble": babble, "abort": os.abort}
    acts |= {"list_environment": list_environment, "start_a_program": start_a_program}
    with_argument = {"leave_a_helper_behind": leave_a_helper_behind, "lie": lie, "connect": connect}
    if name in acts:
        acts[name]()
    else:
        with_argument[name](argument)


if __name__ == "__main__":
    main()
