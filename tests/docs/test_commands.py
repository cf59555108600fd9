"""Every command line of the documentation exists, and those that can be run here do what is shown."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import scope_core as scope
from docs.pages import PAGES, blocks, commands, lay_out, name_of, save
from scope_core.cli import app
from scope_core.cli.shell import plugin_command

ELSEWHERE = (
    "Qwen/",
    "OpenGVLab/",
    "photo.jpg",
    "clip.mp4",
    "/path/to",
    "*.",
    "llava-1.5-7b",
    "llava-v1.6",
    "bench accuracy",
    "bench speed",
    "scope demo",
)
"""Commands with these need files or weights that are not here, minutes, or a browser."""
PLUGIN, INSTALLED = "acme_pruning.py", "scope-acme 0.1.0"
"""The tutorial's package is not installed in this process; its file is given instead."""


def with_commands() -> list[Any]:
    texts = {page: page.read_text("utf-8") for page in PAGES}
    return [pytest.param(p, id=name_of(p)) for p, t in texts.items() if re.search(r"^\$ scope\b", t, re.MULTILINE)]


def arguments(line: str) -> list[str] | None:
    """The arguments of a ``scope`` command; None for other commands."""
    words = shlex.split(line, comments=True)
    return words[1:] if words and words[0] == "scope" else None


def check(words: list[str]) -> None:
    """Refuse commands and options that the program does not have."""
    command: Any = typer.main.get_command(app)
    known = options_of(command)
    inner = {**command.commands, **added_commands()}
    words = words[: words.index(">")] if ">" in words else words
    while words:
        word = words.pop(0)
        if word == "--":  # what follows is for another program
            return
        if word.startswith("-"):
            name, equals, _ = word.partition("=")
            assert name in known, f"there is no {name}; options: {sorted(known)}"
            if not known[name] and not equals:
                assert words, f"{name} wants a value"
                words.pop(0)
        elif inner:
            assert word in inner, f"there is no command {word}; commands: {sorted(inner)}"
            command = inner[word]
            inner = getattr(command, "commands", {})
            known.update(options_of(command))


def added_commands() -> dict[str, Any]:
    """Commands that scope-core's own plugins add."""
    return {record.name: plugin_command(record) for record in scope.default_registry().records("command")}


def options_of(command: Any) -> dict[str, bool]:
    """``{option: whether it is a flag}`` of a command."""
    found = {"--help": True, "-h": True}
    for param in command.params:
        for name in (*param.opts, *param.secondary_opts):
            found[name] = bool(getattr(param, "is_flag", False))
    return found


def loose(text: str) -> str:
    """Output without what differs between machines and terminals: numbers, spaces, rules."""
    return " ".join(re.sub(r"[<>]?\d[\d,]*(\.\d+)?", "#", re.sub(r"[─│╭╮╰╯]", " ", text)).split())


@pytest.mark.parametrize("page", with_commands())
def test_commands_exist(page: Path) -> None:
    for block in blocks(page.read_text("utf-8")):
        for command in commands(block) if block.language == "console" else ():
            words = arguments(command.line)
            if words is not None:
                check(words)


def test_a_command_that_does_not_exist_is_noticed() -> None:
    check(["select", "a.jpg", "--spec", "x", "--order"])
    check(["--plugin", "a.py", "list", "saliency"])
    for wrong in (["selekt"], ["select", "a.jpg", "--colour"], ["list", "--spec"], ["models", "get"]):
        with pytest.raises(AssertionError):
            check(wrong)


@pytest.mark.tower
@pytest.mark.parametrize("page", with_commands())
def test_commands_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        scope.load("dinov2-small")
    except scope.ZooError as error:
        pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    done: set[str] = set()
    for block in blocks(page.read_text("utf-8")):
        if block.file:
            save(block, tmp_path)
        for command in commands(block) if block.language == "console" else ():
            words = arguments(command.line)
            if words is None or command.line in done or any(word in command.line for word in ELSEWHERE):
                continue
            done.add(command.line)
            if ">" in words:
                words = words[: words.index(">")]
            if (tmp_path / PLUGIN).exists() and "--plugin" not in words:
                words = ["--plugin", PLUGIN, *words]
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, f"{name_of(page)}: {command.line}\n{result.output}\n{result.stderr}"
            notes = re.findall(r"^(?:note|warning): .*", command.shown, re.MULTILINE)
            told = loose(result.stderr)
            assert not [note for note in notes if loose(note) not in told], f"{command.line} told\n{result.stderr}"
            shown = "\n".join(line for line in command.shown.splitlines() if line not in notes)
            wanted = re.escape(loose(shown)).replace(re.escape("..."), ".*")
            if shown.strip():
                printed = loose(result.stdout.replace(f"from {PLUGIN}", f"from {INSTALLED}"))
                assert re.fullmatch(wanted, printed), f"{command.line} printed\n{result.stdout}"
