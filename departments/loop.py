"""One event loop for the asynchronous code of a process that is itself synchronous: a Celery worker or a command.

Rules:
- The loop runs in a thread of its own for the life of the process, so that connection pools outlive a task.
- It is made at the first use, in the process that uses it: a worker's children each have their own.
- Never from asynchronous code: that has a loop already.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result or exception. A caller that is interrupted (a time limit) cancels the coroutine."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result()
    finally:
        future.cancel()  # nothing to cancel unless the wait was broken off


def _loop() -> asyncio.AbstractEventLoop:
    process = os.getpid()  # a fork inherits the table, not the thread
    with _lock:
        if process not in _loops:
            _loops[process] = asyncio.new_event_loop()
            threading.Thread(target=_loops[process].run_forever, name="chatgrid-loop", daemon=True).start()
        return _loops[process]
