"""The load: vLLM's own client, ``vllm bench serve``, with random images and prompts, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scope_bench.serving.engine import NAME, Engine, kv_peak
from scope_core import TaskError

_CLIENT = """
import sys
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args(sys.argv[1:]))
"""
"""Not the command ``vllm``, which asks for the version of a distribution called vllm: the build for CPUs is not."""


@dataclass(frozen=True)
class Load:
    """The requests of one measurement.

    Attributes:
        tokenizer: The folder or hub id with the tokenizer.
        requests: Number of requests.
        sizes: (height, width) of images, each as likely as the others; one image for each request.
        prompt: Fewest and most tokens of the question.
        answer: Tokens of every answer.
        warmups: Requests before the clock starts.
        patience: Seconds until all must be answered.
    """

    tokenizer: str
    requests: int
    sizes: Sequence[tuple[int, int]]
    prompt: tuple[int, int]
    answer: int
    warmups: int
    patience: float


def measure(engine: Engine, load: Load, clients: int, seed: int, folder: Path) -> dict[str, float]:
    """One measurement.

    Args:
        engine: The engine.
        load: The requests.
        clients: Number of requests that are open at the same time.
        seed: Seed of images and questions: the same for both engines.
        folder: A folder for the client's output.

    Returns:
        Requests per second, times in ms, share of the KV cache at its peak, seconds of encoder and selection.

    Raises:
        TaskError: the client failed, a request was not answered, or it took too long.
    """
    before, start = engine.metrics(), time.perf_counter()
    with kv_peak(engine) as shares:
        found = _client(engine, load, clients, seed, folder)
    after, wall = engine.metrics(), time.perf_counter() - start
    if found["completed"] != load.requests:
        raise TaskError(f"{load.requests - found['completed']} of {load.requests} requests failed; see {folder}")

    def grown(name: str) -> float:
        return after.get(f"scope_{name}_total", 0.0) - before.get(f"scope_{name}_total", 0.0)

    return {
        "clients": clients,
        "requests_per_s": found["request_throughput"],
        "ttft_ms_median": found["median_ttft_ms"],
        "ttft_ms_p95": found["p95_ttft_ms"],
        "tpot_ms_median": found["median_tpot_ms"],
        "kv_peak": max(shares),
        "encoder_s": grown("encoder_seconds"),
        "selection_s": grown("selection_seconds"),
        "images": grown("images"),
        "tokens_in": grown("visual_tokens_in"),
        "tokens_kept": grown("visual_tokens_kept"),
        "wall_s": wall,
    }


def words(engine: Engine, load: Load, clients: int, seed: int, folder: Path) -> list[str]:
    """The client's options."""
    low, high = load.prompt
    middle = (low + high) / 2
    share = 1 / len(load.sizes)
    buckets = {(height, width, 1): share for height, width in load.sizes}
    options = {
        "backend": "openai-chat", "base-url": engine.url, "endpoint": "/v1/chat/completions", "model": NAME,
        "tokenizer": load.tokenizer, "dataset-name": "random-mm", "num-prompts": load.requests,
        "max-concurrency": clients, "num-warmups": load.warmups, "seed": seed, "temperature": 0,
        "random-input-len": round(middle), "random-range-ratio": (high - low) / (2 * middle),
        "random-output-len": load.answer, "random-mm-base-items-per-request": 1,
        "random-mm-num-mm-items-range-ratio": 0, "random-mm-limit-mm-per-prompt": '{"image": 1, "video": 0}',
        "random-mm-bucket-config": repr(buckets), "percentile-metrics": "ttft,tpot", "metric-percentiles": "95",
        "result-dir": str(folder), "result-filename": "result.json",
    }  # fmt: skip
    return [f"--{name}={value}" for name, value in options.items()] + [
        "--ignore-eos",
        "--disable-tqdm",
        "--save-result",
    ]


def _client(engine: Engine, load: Load, clients: int, seed: int, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "client.log"
    command = [sys.executable, "-c", _CLIENT, *words(engine, load, clients, seed, folder)]
    try:
        with log.open("w") as out:
            subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=True, timeout=load.patience)  # noqa: S603
        found: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except subprocess.TimeoutExpired as error:
        raise TaskError(
            f"{load.requests} requests of {clients} clients took longer than {load.patience:g} s; ask for fewer "
            f"(--requests), or raise --patience"
        ) from error
    except (subprocess.CalledProcessError, OSError, ValueError) as error:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
        raise TaskError(f"vLLM's client failed:\n{tail}") from error
    return found
