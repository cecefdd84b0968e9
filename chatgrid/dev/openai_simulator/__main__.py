"""`python -m chatgrid.dev.openai_simulator --port N`: the simulator as a process, on loopback unless told."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from chatgrid.dev.openai_simulator.app import make_app
from chatgrid.dev.openai_simulator.options import KeyPolicy, Options, read_options


def main() -> None:
    """Listen, say where on the first line of standard output, and serve until told to stop."""
    arguments = _arguments(read_options())
    keys = KeyPolicy.ANY if arguments.any_key else KeyPolicy(arguments.keys)
    options = Options(arguments.first_token_ms, arguments.tokens_per_second, keys, state_file=arguments.state)
    listener = socket.create_server((arguments.host, arguments.port))
    host, port = listener.getsockname()[:2]
    print(f"http://{host}:{port}/v1", flush=True)
    app = make_app(options)
    uvicorn.Server(_config(app)).run(sockets=[listener])
    app.state.simulator.admin.save()


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2)


def _arguments(defaults: Options) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="openai_simulator", description="An OpenAI server for a laptop.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port; the address is printed")
    parser.add_argument("--first-token-ms", type=float, default=defaults.first_token_ms)
    parser.add_argument("--tokens-per-second", type=float, default=defaults.tokens_per_second, help="0 is no pace")
    parser.add_argument("--keys", choices=[policy.value for policy in KeyPolicy], default=defaults.keys.value)
    parser.add_argument("--state", type=Path, help="a file that keeps projects and usage across restarts")
    parser.add_argument("--any-key", action="store_true", help="the same as --keys any")
    return parser.parse_args()


if __name__ == "__main__":
    main()
