"""What the page's server refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from scope_demo.guard import HEADERS, Guard


def status(folder: Path, path: str, **headers: str) -> tuple[int, dict[str, str]]:
    """The status and the headers of an answer, from an application that answers everything."""
    said: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"referrer-policy", b"x")]})

    async def send(message: Any) -> None:
        said.append(message)

    given = {"host": "127.0.0.1:7860", **headers}
    scope = {"type": "http", "path": path, "headers": [(k.encode(), v.encode()) for k, v in given.items()]}
    asyncio.run(Guard(app, folder)(scope, None, send))
    return said[0]["status"], {key.decode(): value.decode() for key, value in said[0]["headers"]}


@pytest.mark.parametrize(
    "path",
    [
        "/file=/etc/passwd",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=pyproject.toml",
        "/gradio_api/file=../x",
        "/gradio_api/file=http://example.com/x",
        "/gradio_api/file=https%3A%2F%2Fexample.com",
        "/gradio_api/file=FOLDER/../secret",
        "/gradio_api/file=FOLDER/%2e%2e/secret",
        "/gradio_api/file=FOLDER/link",
        "/gradio_api/file=FOLDER-beside/x",
        "/gradio_api/file=/a\0b",
        "/gradio_api/file=" + "/x" * 9999,
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=https://example.com",
        "/proxy=http://a.hf.space/",
    ],
)
def test_files_elsewhere_are_refused(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    assert status(folder, path.replace("FOLDER", str(folder)))[0] == 403


def test_its_own_files_and_pages_are_answered_with_a_policy(tmp_path: Path) -> None:
    (tmp_path / "a b.png").write_text("x")
    for path in (
        "/",
        "/config",
        "/assets/index.js",
        f"/gradio_api/file={tmp_path}/a b.png",
        f"/gradio_api/file={tmp_path}/a%20b.png",
    ):
        code, headers = status(tmp_path, path)
        assert code == 200, path
        assert headers == HEADERS
    assert "http" not in HEADERS["content-security-policy"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:7860", "localhost:80", "[::1]:9"])
def test_this_machine_may_ask(tmp_path: Path, host: str) -> None:
    assert status(tmp_path, "/", host=host)[0] == 200
    assert status(tmp_path, "/", host=host, origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize(
    "name", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "localhost:x", "127.0.0.1:1:2"]
)
def test_other_names_and_foreign_pages_are_refused(tmp_path: Path, name: str) -> None:
    assert status(tmp_path, "/", host=name)[0] == 403
    if name:
        assert status(tmp_path, "/", origin=f"http://{name}")[0] == 403
    assert status(tmp_path, "/", origin="null")[0] == 403
