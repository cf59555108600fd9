"""A server that ends while requests run: killed, asked to, or asked while it still starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from samples import picture
from servers import SETTINGS, Server, command, serving, stop, wait


def engine(server: Server) -> psutil.Process:
    """The process of vLLM's engine core, the parent of the workers."""
    (found,) = {process.parent() for process in server.workers()}
    return found


def folder_of(server: Server) -> Path:
    """The folder of counters."""
    (table,) = [json.loads(word) for word in server.process.cmdline() if "visual_pruner_metrics" in word]
    return Path(table["visual_pruner_metrics"])


@contextmanager
def clients(server: Server, count: int = 4) -> Iterator[list[Any]]:
    """Requests that run inside, some of them without a picture; what they got, once all have ended."""
    ended: list[Any] = []

    def ask(number: int) -> None:
        images = [picture(77 + number)] * (number % 2)
        try:
            ended.append(server.ask(*images, max_tokens=1900, min_tokens=1900, ignore_eos=True, timeout=300))
        except httpx.TransportError as error:
            ended.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    wait(lambda: any(
        line.startswith("vllm:num_requests_running") and float(line.split()[-1]) == count
        for line in server.metrics().splitlines()
    ), 120)  # fmt: skip
    yield ended
    for thread in threads:
        thread.join(120)
    assert len(ended) == count, "a client waits for a server that has ended"


def kill_engine(server: Server) -> None:
    engine(server).kill()


def terminate(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)


def terminate_all(server: Server) -> None:
    """As service managers do: all processes at once."""
    for process in [*server.process.children(recursive=True), server.process]:
        process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        (kill_engine, 1, "the engine died: its process EngineCore was ended by SIGKILL"),
        (terminate, 143, "terminated"),
        (terminate_all, 143, "terminated"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_no_client_waits_and_nothing_is_left(llava: Path, tmp_path: Path, end: Any, status: int, reason: str) -> None:
    log = tmp_path / "log.txt"
    with serving(llava, "scope@64", log) as server:
        below, folder = server.process.children(recursive=True), folder_of(server)
        shared = {Path(one.path) for one in engine(server).memory_maps() if one.path.startswith("/dev/shm/psm_")}
        with clients(server) as ended:
            assert folder.exists()
            end(server)
        for answer in ended:  # vLLM that is asked to end may answer what it has
            is_error = isinstance(answer, httpx.TransportError) or answer.status_code >= 500
            assert is_error or (status == 143 and answer.status_code == 200), answer
        assert server.process.wait(60) == status
        _, alive = psutil.wait_procs(below, timeout=120)
        assert alive == []
        assert not folder.exists()
        assert shared
        assert [path for path in shared if path.exists()] == []
    assert f"scope serve: {reason}" in log.read_text()


def test_a_server_that_loads_its_model_ends_when_asked(llava: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with log.open("w") as out:
        words = command(llava, "scope@64", 0)
        process = psutil.Popen(words, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **SETTINGS})
    try:
        wait(lambda: any("EngineCore" in one.name() for one in process.children()) or process.poll() is not None, 600)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 143
        assert "scope serve: terminated" in log.read_text()
    finally:
        stop(process)
