"""An OpenAI server for a laptop and for tests: same wire format, same refusals, and it can be told to misbehave.

One plain ASGI application, without Django and without a network. It answers from the passages in the prompt, so that
a demo is useful, and it keeps the provider's side of the books, so that tests can compare our ledger with it.
Start it with `python -m chatgrid.dev.openai_simulator --port 0`, build it with `app.make_app()`, or, in a test, hold it
with `server.running()`. Everything a caller may order is listed in `control.py`.
"""
