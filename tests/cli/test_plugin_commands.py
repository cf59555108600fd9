"""Commands that plugins add: listed in a panel of their own, imported when called, isolated when broken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Ran

COMMANDS = '''
"""Commands of a stranger."""
from typing import Annotated
import typer

def greet(ctx: typer.Context, whom: str, words: Annotated[list[str] | None, typer.Argument()] = None,
          loud: bool = False) -> None:
    """Greet somebody, long text."""
    text = f"hello {whom}, {len(ctx.obj.registry.names('saliency')) > 3}, {words}"
    typer.echo(text.upper() if loud else text)

def fail() -> None:
    """Raise."""
    raise RuntimeError("the author's mistake")
'''
PLUGIN = """
from scope_core.commands import Command
from scope_core.parts import hookimpl

@hookimpl
def scope_commands():
    yield Command("acme.greet", "acme_commands:greet", "greet somebody", examples=("scope acme.greet you",))
    yield Command("acme.fail", "acme_commands:fail", "raise")
    yield Command("acme.gone", "acme_commands_gone:nothing", "cannot be imported", requires=("acme-needs-this",))
    yield Command("acme.typo", "acme_commands:gret", "names nothing")
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with these commands."""
    site = tmp_path / "site"
    info = site / "acme_cli-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-cli\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[scope_core]\nacme = acme_cli\n")
    (site / "acme_cli.py").write_text(PLUGIN)
    (site / "acme_commands.py").write_text(COMMANDS)
    monkeypatch.syspath_prepend(site)
    yield site
    for name in ("acme_cli", "acme_commands", "other_cli"):
        sys.modules.pop(name, None)


def test_help_lists_them_in_their_own_panel_and_imports_none(scope_: Callable[..., Ran], installed: Path) -> None:
    ran = scope_("--help")
    assert ran.code == 0
    panel = ran.stdout.partition("Commands of plugins")[2]
    for name, about in (("acme.greet", "greet somebody"), ("acme.fail", "raise"), ("acme.gone", "cannot be imported")):
        assert name in panel
        assert about in panel
    assert "acme_commands" not in sys.modules


def test_a_command_is_run_with_its_arguments_and_the_registry(scope_: Callable[..., Ran], installed: Path) -> None:
    assert scope_("acme.greet", "you").stdout == "hello you, True, None\n"
    assert scope_("acme.greet", "--loud", "you").stdout == "HELLO YOU, TRUE, NONE\n"
    passed = scope_("acme.greet", "you", "--", "--port", "1", "--debug")
    assert passed.stdout == "hello you, True, ['--port', '1', '--debug']\n"


def test_its_help_is_its_own(scope_: Callable[..., Ran], installed: Path) -> None:
    ran = scope_("acme.greet", "--help")
    assert ran.code == 0
    for text in ("scope acme.greet", "Greet somebody, long text.", "--loud", "$ scope acme.greet you"):
        assert text in ran.stdout
    assert "--install-completion" not in ran.stdout


def test_wrong_usage_is_2_and_misspelt_names_get_a_suggestion(scope_: Callable[..., Ran], installed: Path) -> None:
    ran = scope_("acme.greet")
    assert (ran.code, "Missing argument 'whom'" in ran.stderr) == (2, True)
    ran = scope_("acme.gret", "you")
    assert (ran.code, "did you mean 'acme.greet'?" in ran.stderr) == (2, True)


def test_broken_ones_are_errors_when_called_and_harm_no_other(scope_: Callable[..., Ran], installed: Path) -> None:
    gone = scope_("acme.gone")
    assert gone.code == 3
    assert "command 'acme.gone' (acme-cli 1.0) cannot be imported" in gone.stderr
    assert "pip install acme-needs-this" in gone.stderr
    typo = scope_("acme.typo")
    assert typo.code == 3
    assert "there is nothing at 'acme_commands:gret'" in typo.stderr
    failing = scope_("acme.fail")
    assert failing.code == 70
    assert "unexpected RuntimeError: the author's mistake" in failing.stderr
    assert scope_("list", "saliency").code == 0


def test_list_show_and_doctor_know_them(scope_: Callable[..., Ran], installed: Path) -> None:
    rows = {row["name"]: row for row in scope_("list", "command", "--json").json}
    assert rows["acme.greet"]["origin"]["distribution"] == "acme-cli"
    assert rows["acme.gone"]["missing"] == ["acme-needs-this"]
    shown = scope_("show", "acme.greet", "--json").json
    assert (shown["kind"], shown["loader"]) == ("command", "acme_commands:greet")
    assert "scope acme.greet --help" in scope_("show", "acme.greet").words
    doctor = scope_("doctor", "--quick", "--json")
    assert doctor.code == 1
    problems = [problem["what"] for problem in doctor.json["problems"]]
    assert [name for name in ("acme.greet", "acme.gone", "acme.typo") if any(name in what for what in problems)] == [
        "acme.gone",
        "acme.typo",
    ]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (
            "scope.commands.Command('greet', 'a:b', 'bare')",
            "names without a dot are reserved for scope-core's own parts; name it 'acme_cli",
        ),
        ("('greet', 'a:b')", "scope_commands yielded ('greet', 'a:b'), which is not a scope_core.commands.Command"),
        ("scope.commands.Command('Acme.greet', 'a:b', 'upper')", "may hold only a-z, 0-9, _ and dots"),
    ],
)
def test_a_wrong_registration_is_one_warning(
    scope_: Callable[..., Ran], installed: Path, written: str, wanted: str
) -> None:
    (installed / "acme_cli.py").write_text(
        f"import scope_core as scope\n@scope.parts.hookimpl\ndef scope_commands():\n    yield {written}\n"
    )
    ran = scope_("list", "recipe")
    assert ran.code == 0
    assert ran.stderr.count("warning: plugin 'acme' of acme-cli 1.0") == 1
    assert wanted in ran.stderr


def test_two_distributions_with_one_command(scope_: Callable[..., Ran], installed: Path) -> None:
    info = installed / "other_cli-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-cli\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[scope_core]\nother = other_cli\n")
    (installed / "other_cli.py").write_text(PLUGIN)
    ran = scope_("acme.greet", "you")
    assert ran.code == 3
    assert "is given by acme-cli 1.0" in ran.stderr
    assert "other-cli 2.0" in ran.stderr
    assert scope_("--help").code == 0


def test_strict_mode_leaves_the_help_alone(
    scope_: Callable[..., Ran], broken_distribution: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCOPE_STRICT_PLUGINS", "1")
    ran = scope_("--help")
    assert ran.code == 0
    assert "doctor" in ran.stdout
    assert "error: plugin 'acme' of acme-pruning 1.2" in ran.stderr


def test_a_plugin_file_may_hold_commands(scope_: Callable[..., Ran], installed: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.replace("acme.", "mine."))
    assert scope_("--plugin", path, "mine.greet", "you").stdout == "hello you, True, None\n"
    assert scope_("mine.greet", "you", "--plugin", path).stdout == "hello you, True, None\n"
    assert scope_("mine.greet", "you").code == 2
    sys.modules.pop("scope_plugin_file_mine", None)


def test_commands_of_core_look_at_no_plugin() -> None:
    script = (
        "import sys\nfrom scope_core.cli import app\n"
        "try:\n    app(['photos', '--help'], prog_name='scope')\nexcept SystemExit:\n    pass\n"
        "print([name for name in sys.modules if name.startswith(('scope_plugins', 'scope_adapters'))])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
