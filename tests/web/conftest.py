"""One server, as a user starts it, in a process that may reach this machine alone; and a browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

SHOTS = Path(__file__).parent / "screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 90
"""Seconds: a machine that does other work is slow."""

# in the server's process: every connection elsewhere is written down and refused
WATCH = """
import os, socket
real, found = socket.socket.connect, os.environ["SCOPE_TEST_LOG"]
def connect(self, address):
    if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "::1", "localhost")):
        with open(found, "a") as log:
            log.write(f"connect {address}\\n")
        raise OSError("no network in tests")
    return real(self, address)
socket.socket.connect = connect
asked = socket.getaddrinfo
def getaddrinfo(host, *given, **named):
    if host not in (None, "", "127.0.0.1", "localhost", "::1", b"127.0.0.1"):
        with open(found, "a") as log:
            log.write(f"look up {host}\\n")
        raise socket.gaierror("no network in tests")
    return asked(host, *given, **named)
socket.getaddrinfo = getaddrinfo
"""


@dataclass
class Server:
    """A running ``scope demo``."""

    process: subprocess.Popen[bytes]
    address: str
    place: Path

    @property
    def reached(self) -> str:
        """What it tried to reach elsewhere."""
        log = self.place / "network.log"
        return log.read_text() if log.exists() else ""

    @property
    def said(self) -> str:
        """What it printed."""
        return (self.place / "output.log").read_text()

    @property
    def temporary(self) -> list[Path]:
        """Folders for temporary files."""
        return sorted((self.place / "tmp").iterdir())

    def stop(self, how: signal.Signals) -> int:
        """Its exit code."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)


def started(place: Path, *options: str) -> Server:
    """``scope demo`` in folders of its own, with the weights that are cached on this machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for name in ("home", "cwd", "tmp", "site"):
        (place / name).mkdir(parents=True)
    (place / "site" / "sitecustomize.py").write_text(WATCH)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {name: text for name, text in os.environ.items() if "proxy" not in name.lower() and "GRADIO" not in name}
    environment = {
        **kept,
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "tmp"),
        "XDG_CACHE_HOME": str(cache),
        "PYTHONPATH": str(place / "site"),
        "SCOPE_TEST_LOG": str(place / "network.log"),
    }
    words = [sys.executable, "-m", "scope_core", "demo", "--no-open", "--port", str(port), *options]
    with (place / "output.log").open("wb") as output:
        process = subprocess.Popen(words, cwd=place / "cwd", env=environment, stdout=output, stderr=output)
    server = Server(process, f"http://127.0.0.1:{port}", place)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, server.said
        try:
            with urllib.request.urlopen(f"{server.address}/config", timeout=5):
                return server
        except OSError:
            time.sleep(0.2)
    process.kill()
    raise AssertionError(f"no page after {PATIENCE} s:\n{server.said}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for most tests."""
    running = started(tmp_path_factory.mktemp("demo") / "server")
    yield running
    if running.process.poll() is None:
        running.process.kill()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; a machine without one fails the tests, since a page that nobody opened was not tested."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.fail("no Chromium here; install one, e.g. apt-get install chromium, or: playwright install chromium")
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@dataclass
class Visit:
    """A visitor's page, what went wrong on it, and what it asked for elsewhere."""

    page: Page
    errors: list[str]
    elsewhere: list[str]


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Visit]:
    """A page that is loaded, with its figures."""
    one = visited(browser, server)
    yield one
    assert not one.elsewhere
    assert not one.errors
    one.page.context.close()


def visited(browser: Browser, server: Server, *, width: int = 1400) -> Visit:
    """A new visitor."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    expect.set_options(timeout=PATIENCE * 1000)
    one = Visit(page, [], [])
    page.on("pageerror", lambda error: one.errors.append(str(error)))
    page.on("console", lambda line: one.errors.append(line.text) if line.type == "error" else None)
    page.on("dialog", lambda dialog: one.errors.append(f"dialog: {dialog.message}"))
    local = (server.address, "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(local) else one.elsewhere.append(request.url))
    page.goto(server.address)
    expect(page.locator(".sd-figures img").first).to_be_visible()
    return one


def shot(page: Page, name: str) -> None:
    """Keep a screenshot."""
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)
