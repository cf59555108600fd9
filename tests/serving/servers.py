"""`scope serve` in a process of its own, and requests to it, on the loopback interface."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from samples import QUESTION, data_url

HOST = "127.0.0.1"
STARTUP = 900
"""Seconds. Half a minute will do on an idle machine; one that others use takes ten times as long."""
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
OPTIONS = ("--enforce-eager", "--dtype", "float32", "--max-model-len", "2048", "--served-model-name", "tiny")


class Server:
    """One that runs."""

    def __init__(self, process: psutil.Popen, port: int, log: Path) -> None:
        self.process, self.url, self.log = process, f"http://{HOST}:{port}", log

    def ask(self, *images: Any, question: str = QUESTION, timeout: float = 120, **more: Any) -> httpx.Response:
        """A chat completion, greedy; images are pictures or URLs."""
        urls = [image if isinstance(image, str) else data_url(image) for image in images]
        content = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        content.append({"type": "text", "text": question})
        asked = {"model": "tiny", "messages": [{"role": "user", "content": content}], "max_tokens": 10}
        return httpx.post(f"{self.url}/v1/chat/completions", json={**asked, "temperature": 0, **more}, timeout=timeout)

    def healthy(self) -> bool:
        """Whether the engine is alive."""
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def counters(self) -> dict[str, float]:
        """What /metrics says of pruning, over all labels."""
        sums: dict[str, float] = {}
        for name, number in re.findall(r"^(scope_\w+_total)\{.*\} (\S+)$", self.metrics(), re.MULTILINE):
            sums[name] = sums.get(name, 0) + float(number)
        return sums

    def metrics(self) -> str:
        """The text of /metrics."""
        return httpx.get(f"{self.url}/metrics", timeout=30).text

    def workers(self) -> list[psutil.Process]:
        """The processes that hold the model."""
        below = self.process.children(recursive=True)
        return [process for process in below if "worker" in " ".join([process.name(), *process.cmdline()]).lower()]


def command(
    folder: Path, spec: str, port: int, *options: str, per_request: bool = False, strict: bool = False
) -> list[str]:
    """The words that start a server, as users write them."""
    words = [str(Path(sys.executable).with_name("scope")), "serve", str(folder), "--spec", spec]
    words += [*(["--per-request"] if per_request else []), *(["--strict"] if strict else [])]
    return [*words, "--", "--host", HOST, "--port", str(port), *OPTIONS, *options]


@contextmanager
def serving(
    folder: Path,
    spec: str,
    log: Path,
    *options: str,
    per_request: bool = False,
    strict: bool = False,
    site: Path | None = None,
):
    """A server for a checkpoint, started as users start it; stopped on exit, if it still runs.

    Packages in the folder ``site`` are installed for it.
    """
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    words = command(folder, spec, port, *options, per_request=per_request, strict=strict)
    packages = {} if site is None else {"PYTHONPATH": str(site)}
    with log.open("w") as out:
        process = psutil.Popen(words, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **SETTINGS, **packages})
    server = Server(process, port, log)
    try:
        wait(lambda: server.healthy() or process.poll() is not None, STARTUP)
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{log.read_text()[-6000:]}")
        yield server
    finally:
        stop(process)


def stop(process: psutil.Popen) -> None:
    """End a server and what it started."""
    below = process.children(recursive=True) if process.is_running() else []
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs([process, *below], timeout=60)
    for one in left:
        one.kill()


def wait(done: Any, seconds: float) -> None:
    """Until ``done()``.

    Raises:
        TimeoutError: it never was.
    """
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"nothing after {seconds} s")
        time.sleep(0.5)
