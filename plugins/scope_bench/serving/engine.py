"""One engine at a time, on the loopback interface, started as users start it: ``scope serve``."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scope_core import TaskError

HOST = "127.0.0.1"
EVERYTHING = "uniform_grid@100%"
"""The spec of the unpruned engine: a full budget skips selection, and answers as vLLM without the plugin."""
NAME = "bench"
"""The name under which the model is served."""
_KV = "vllm:kv_cache_usage_perc"
_PAUSE = 0.25


@dataclass(frozen=True)
class Engine:
    """A running engine.

    Attributes:
        url: Its address.
    """

    url: str

    def metrics(self) -> dict[str, float]:
        """Prometheus' metrics, summed over all labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as answer:  # noqa: S310  (loopback)
            text = answer.read().decode()
        sums: dict[str, float] = {}
        for name, number in re.findall(r"^([a-z_:]+)(?:\{.*\})? (\S+)$", text, re.MULTILINE):
            sums[name] = sums.get(name, 0.0) + float(number)
        return sums


@contextlib.contextmanager
def running(model: str, spec: str, options: Sequence[str], log: Path, patience: float) -> Iterator[Engine]:
    """An engine inside; it has ended afterwards.

    Args:
        model: A folder or a hub id.
        spec: A spec as users write it.
        options: Options of vLLM.
        log: A file for its output.
        patience: Seconds until it must be ready.

    Raises:
        TaskError: it ended, or was not ready in time; quotes the end of its log.
    """
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "scope_core", "serve", model, "--spec", spec, "--"]
    words += ["--host", HOST, "--port", str(port), "--served-model-name", NAME, *options]
    with log.open("w") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)  # noqa: S603
    try:
        engine = Engine(f"http://{HOST}:{port}")
        end = time.monotonic() + patience
        while not _ready(engine):
            if process.poll() is not None:
                raise TaskError(f"the engine with {spec} ended with status {process.returncode}:\n{_tail(log)}")
            if time.monotonic() > end:
                raise TaskError(
                    f"the engine with {spec} was not ready after {patience:g} s; raise --patience:\n{_tail(log)}"
                )
            time.sleep(_PAUSE)
        yield engine
    finally:
        _stop(process)


@contextlib.contextmanager
def kv_peak(engine: Engine) -> Iterator[list[float]]:
    """A list of the shares of the KV cache in use, sampled several times a second inside; never empty.

    Raises:
        TaskError: vLLM's metrics do not say it.
    """
    seen, over = [_kv(engine)], threading.Event()

    def watch() -> None:
        while not over.wait(_PAUSE):
            with contextlib.suppress(OSError):  # the server is busy
                seen.append(_kv(engine))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _kv(engine: Engine) -> float:
    metrics = engine.metrics()
    if _KV not in metrics:
        raise TaskError(f"vLLM's /metrics has no {_KV}; omit --disable-log-stats")
    return metrics[_KV]


def _ready(engine: Engine) -> bool:
    try:
        with urllib.request.urlopen(f"{engine.url}/health", timeout=5) as answer:  # noqa: S310  (loopback)
            return bool(answer.status == 200)
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the engine and what it started; a server that is asked to end while it starts may not react."""
    for number, seconds in ((signal.SIGTERM, 60), (signal.SIGKILL, 30)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # workers that outlived it


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
