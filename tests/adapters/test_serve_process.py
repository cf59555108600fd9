"""Counters and requests of a server, as far as none of it needs vLLM."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scope_adapters.serving import metrics, middleware


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
    assert sent(b'{"mm_processor_kwargs": {"visual_pruner": 9}}')[0]["parts"]
    for body in (
        b'{"visual_pruner": 9}',
        b'{"mm_processor_kwargs": {"visual_prunerr": 9}}',
        b'{"mm_processor_kwarg": {"visual_pruner": 9}}',
        b'{"extra_body": {"mm_processor_kwargs": {"visual_pruner": 9}}}',
        b'{"messages": [{"content": [{"image_url": {"url": "x", "visual_pruner": 9}}]}]}',
    ):
        start, answer = sent(body[:9], body[9:])
        assert start["status"] == 400
        assert "'visual_pruner'" in json.loads(answer["body"])["error"]["message"].replace('"', "'")


def test_a_server_whose_engine_died_exits_with_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "deaths", [])
    for errored in (False, True):
        engine = SimpleNamespace(errored=errored, shutdown=lambda timeout: timeout)
        middleware.watch(engine)
        assert engine.shutdown(timeout=3) == 3
        engine.errored = True  # an engine that was shut down is not running either
        engine.shutdown(timeout=3)
        assert len(middleware.deaths) == errored
