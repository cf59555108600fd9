"""Counters and requests of a server, as far as none of it needs vLLM."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from scope_adapters.serving import metrics, middleware, open_requests, server, termination
from scope_adapters.serving.address import check_address
from scope_adapters.serving.sizes import check_resized
from scope_core import ZooError


class TestCounters:
    ONE = metrics.Counts({"scope@64": [2, 1152, 128, 0.25, 0.5]}, {("saliency 'x'", "acme 1", "KeyError"): 1})

    def test_sums_of_several_processes(self, tmp_path: Path) -> None:
        folder = tmp_path / "made on demand"
        script = (
            "from scope_adapters.serving import metrics\n"
            f"for _ in range(3):\n    metrics.record({str(folder)!r}, metrics.{self.ONE!r})"
        )
        for _ in range(2):
            subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
        sums = metrics.totals([folder])
        assert sums.specs == {"scope@64": [12, 6912, 768, 1.5, 3.0]}
        assert sums.fallbacks == {("saliency 'x'", "acme 1", "KeyError"): 6}
        assert len(list(folder.glob("*.counts"))) == 2
        assert metrics.totals([tmp_path / "nothing here"]) == metrics.Counts()

    def test_clients_cannot_make_labels(self) -> None:
        sums = metrics.Counts()
        for number in range(9):
            sums.add(metrics.Counts({f"scope@{number}": [1, 576, number, 0, 0]}), {"scope@8": "scope@8"})
        assert sums.specs == {"request": [8, 8 * 576, 28, 0, 0], "scope@8": [1, 576, 8, 0, 0]}

    def test_two_servers_from_one_command_have_folders_of_their_own(self, tmp_path: Path) -> None:
        folder = tmp_path / "counts"
        script = (
            "from scope_adapters.serving import metrics\n"
            f"own = metrics.own_folder({str(folder)!r})\nassert metrics.own_folder(own) == own\n"
            f"metrics.record(own, metrics.{self.ONE!r})"
        )
        for _ in range(2):
            subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
        assert [metrics.totals([own]).specs["scope@64"][0] for own in folder.iterdir()] == [2, 2]

    def test_nothing_without_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        metrics.record("", self.ONE)
        assert list(tmp_path.iterdir()) == []

    def test_what_cannot_be_written_is_a_warning(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "file").write_text("")
        for _ in range(5):
            metrics.record(str(tmp_path / "file" / "below"), self.ONE)
        assert caplog.text.count("could not be updated") == 1  # not once for each image

    def test_sums_that_could_not_be_written_are_written_later(self, tmp_path: Path) -> None:
        """A full disk: what happened then is not lost."""
        blocked = tmp_path / "counts"
        blocked.write_text("")
        metrics.record(str(blocked), self.ONE)
        blocked.unlink()
        metrics.record(str(blocked), self.ONE)
        assert metrics.totals([blocked]).specs == {"scope@64": [4, 2304, 256, 0.5, 1.0]}

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"specs": 5}', '{"specs": {"a": 1}, "fallbacks": []}'])
    def test_files_that_cannot_be_read_hide_no_others(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
    ) -> None:
        metrics.record(str(tmp_path), self.ONE)
        (tmp_path / "1.counts").write_text(text)
        (tmp_path / "2.counts").mkdir()
        assert metrics.totals([tmp_path]) == self.ONE
        assert caplog.text.count("cannot be read") == 2
        (tmp_path / f"{os.getpid()}.counts").write_text(text)
        metrics.record(str(tmp_path), self.ONE)
        assert metrics.totals([tmp_path]).specs["scope@64"][0] == 4

    def test_a_file_is_whole_at_any_time(self, tmp_path: Path) -> None:
        metrics.record(str(tmp_path), self.ONE)
        (file,) = tmp_path.iterdir()
        assert json.loads(file.read_text())["specs"] == self.ONE.specs


def test_bodies_are_read_only_for_keys_of_pruning() -> None:
    """What a client may say about pruning, and that vLLM gets every other body as it came, in parts."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        parts = []
        while not parts or parts[-1]["more_body"]:
            parts.append(await receive())
        await send({"parts": [part["body"] for part in parts]})

    def sent(*parts: bytes) -> list[Any]:
        messages = [{"body": part, "more_body": part is not parts[-1]} for part in parts]
        out: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            out.append(message)

        asyncio.run(middleware.PruningMiddleware(app)({"type": "http", "method": "POST"}, receive, send))
        return out

    for parts in ((b'{"a": ', b"1}"), (b'{"visual_pruner": broken',), (b'["visual_pruner", 1]',), (b"",)):
        assert sent(*parts) == [{"parts": list(parts)}]
    for spec in (b"9", b'"scope@9"', b'{"budget": 9}', b"null"):
        assert sent(b'{"mm_processor_kwargs": {"visual_pruner": %b}}' % spec)[0]["parts"]
    for body in (
        b'{"visual_pruner": 9}',
        b'{"mm_processor_kwargs": {"visual_prunerr": 9}}',
        b'{"mm_processor_kwargs": {"visual_pruner": "../secret.yaml"}}',
        b'{"mm_processor_kwargs": {"visual_pruner": []}, "messages": "without images"}',
        b'{"mm_processor_kwarg": {"visual_pruner": 9}}',
        b'{"extra_body": {"mm_processor_kwargs": {"visual_pruner": 9}}}',
        b'{"messages": [{"content": [{"image_url": {"url": "x", "visual_pruner": 9}}]}]}',
    ):
        start, answer = sent(body[:9], body[9:])
        assert start["status"] == 400
        assert "visual_pruner" in json.loads(answer["body"])["error"]["message"]


def test_a_server_whose_engine_died_exits_with_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(termination.requests, "guard", lambda engine: None)
    for errored, asked, status in ((True, [], 1), (True, [signal.SIGTERM], 143), (False, [], 130)):
        monkeypatch.setattr(termination, "deaths", [])
        monkeypatch.setattr(termination, "asked", asked)
        engine = SimpleNamespace(errored=errored, shutdown=lambda timeout: timeout)
        termination.watch(engine)
        assert engine.shutdown(timeout=3) == 3
        engine.errored = True  # an engine that was shut down is not running either
        engine.shutdown(timeout=3)
        assert termination.status() == status
        assert termination.reasons() == {
            1: ["the engine died; its reason is in the log above"], 143: ["terminated"], 130: []
        }[status]  # fmt: skip


@pytest.mark.parametrize("dies", [False, True], ids=["shut down", "died"])
def test_requests_that_cannot_be_answered_end(monkeypatch: pytest.MonkeyPatch, dies: bool) -> None:
    """Open ones, one in the middle of its answer, one whose body never comes, and later ones."""
    monkeypatch.setattr(open_requests, "GRACE", 0)
    monkeypatch.setattr(open_requests, "PERIOD", 0)
    requests = open_requests.OpenRequests()
    for module in (termination, middleware):
        monkeypatch.setattr(module, "requests", requests)

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200})
        await asyncio.Event().wait()

    async def run() -> dict[str, Any]:
        engine = SimpleNamespace(errored=False, shutdown=lambda: None)
        termination.watch(engine)
        told: dict[str, list[Any]] = {"/": [], "/stream": [], "/slow": [], "/late": []}

        def ask(path: str) -> Any:
            async def receive() -> Any:
                return await asyncio.Event().wait() if path == "/slow" else {"type": "http.request", "body": b""}

            async def send(message: Any) -> None:
                told[path].append(message.get("status", ""))

            scope = {"type": "http", "method": "POST", "path": path}
            return middleware.PruningMiddleware(app)(scope, receive, send)

        tasks = [asyncio.create_task(ask(path)) for path in ("/", "/stream", "/slow")]
        await asyncio.sleep(0.05)
        assert told["/"] == []
        if dies:
            engine.errored = True
        else:
            engine.shutdown()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)
        await ask("/late")
        return told

    assert asyncio.run(run()) == {"/": [503, ""], "/stream": [200], "/slow": [503, ""], "/late": [503, ""]}


def test_a_death_by_a_signal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log has no reason then: the process had no time to write one."""
    monkeypatch.setattr(termination, "deaths", [])
    monkeypatch.setattr(termination.requests, "guard", lambda engine: None)
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,), name="EngineCore")
    process.start()
    engine = SimpleNamespace(errored=True, shutdown=lambda: None)
    termination.watch(engine)
    process.kill()
    process.join()
    engine.shutdown()
    (line,) = termination.reasons()
    assert "its process EngineCore was ended by SIGKILL, as the system does when memory runs out" in line


LAUNCHER = """
import signal, sys, time, types
from scope_adapters.serving import server

def main():
    def end(*_):
        raise KeyboardInterrupt("terminated")
    signal.signal(signal.SIGTERM, end)
    try:
        print("starting", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        pass  # as vLLM's handshake with the engine does
    print("still waiting", flush=True)
    time.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for what runs in the background
sys.modules["launcher"] = types.SimpleNamespace(main=main)
sys.modules["vllm.envs"] = types.SimpleNamespace()
server.LAUNCHER = "launcher"
sys.exit(server.main())
"""


@pytest.mark.parametrize(("number", "word"), [(signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")])
def test_a_server_that_still_starts_ends_when_asked(number: signal.Signals, word: str) -> None:
    words = [sys.executable, "-c", LAUNCHER, "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "starting\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=50)
    assert (process.returncode, out, err) == (128 + number, "", f"scope serve: {word}\n")


def test_signals_are_as_before_afterwards() -> None:
    before = [signal.getsignal(one) for one in termination.SIGNALS], signal.signal
    with termination.terminable():
        assert signal.getsignal(signal.SIGTERM) not in before[0]
    assert ([signal.getsignal(one) for one in termination.SIGNALS], signal.signal) == before


class TestAddresses:
    @pytest.fixture
    def taken(self) -> Iterator[int]:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            yield listener.getsockname()[1]

    def test_a_port_in_use_is_refused_before_vllm_is_imported(self, taken: int) -> None:
        for options in (["--host", "127.0.0.1", "--port", str(taken)], [f"--port={taken}"]):
            words = [sys.executable, "-m", "scope_adapters.serving.server", *options]
            ran = subprocess.run(words, capture_output=True, text=True, timeout=120)
            assert ran.returncode == 4
            reason = "Address already in use; give another --port"
            assert re.fullmatch(rf"error: port {taken}( of 127.0.0.1)? cannot be used: {reason} .*\n", ran.stderr)

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (["--port", "99999"], "0-65535"),
            (["--port", "http"], "is not a port; give a number"),
            (["--port", "0", "--host", "host.invalid"], "give another --host or --port"),
            (["--uds", "."], "the file exists"),
        ],
    )
    def test_others_that_cannot_be_used(self, options: list[str], reason: str) -> None:
        with pytest.raises(ZooError, match=reason):
            check_address(options)

    def test_what_vllm_decides_is_left_to_it(self, taken: int, tmp_path: Path) -> None:
        check_address(["--port", "0"])
        check_address(["--config", "options.yaml"])
        check_address(["--uds", str(tmp_path / "new"), "--port", str(taken)])
        check_address(["--headless", "--port", str(taken)])


def test_images_that_would_grow_without_bound_are_refused() -> None:
    """CLIP's processor resizes the shorter side and crops afterwards: a line of 5000 pixels takes 1.7 GB."""
    check_resized((1, 1585), 336)
    check_resized((5000, 4000), 336)
    for size in ((1, 1586), (5000, 1), (1, 10**9)):
        with pytest.raises(ValueError, match="too narrow: resized to a shorter side of 336 pixels it has"):
            check_resized(size, 336)


def test_vllm_decides_how_large_an_image_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9)
    for envs, limit in ((SimpleNamespace(), 9), (SimpleNamespace(VLLM_MAX_IMAGE_PIXELS=5), None)):
        monkeypatch.setitem(sys.modules, "vllm.envs", envs)
        server.leave_size_limit_to_vllm()
        assert limit == Image.MAX_IMAGE_PIXELS
