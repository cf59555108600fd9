"""What holds for every command: exit codes, messages, options of the whole program, start-up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import scope_core
from cli.conftest import FAKE_ZOO, Ran
from scope_core.cli.shell import hoisted

COMMANDS = (
    "list",
    "show",
    "explain",
    "schema",
    "validate",
    "plan",
    "select",
    "compare",
    "run",
    "photos",
    "doctor",
    "models",
)


def subprocess_of(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scope_core", *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **env},
    )


def test_version(scope_: Callable[..., Ran]) -> None:
    ran = scope_("--version")
    assert (ran.code, ran.stdout) == (0, f"scope-core {scope_core.__version__}\n")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_command_and_exit_code(scope_: Callable[..., Ran], flag: str) -> None:
    ran = scope_(flag)
    assert ran.code == 0
    assert all(f" {command} " in ran.stdout for command in COMMANDS)
    assert "130 interrupted" in ran.words
    assert "143 terminated" in ran.words


def test_no_flag_has_a_type_in_the_help_of_any_command(scope_: Callable[..., Ran]) -> None:
    import typer

    from scope_core.cli import app
    from scope_core.cli.shell import plugin_command

    def paths(command: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        inner = getattr(command, "commands", {})
        return [path, *(below for name, one in inner.items() for below in paths(one, (*path, name)))]

    found = paths(typer.main.get_command(app), ())
    for record in scope_core.default_registry().records("command"):
        found += paths(plugin_command(record), (record.name,))
    assert {("plan",), ("bench", "accuracy"), ("serve",), ("models", "fetch")} <= set(found)
    for path in found:
        shown = scope_(*path, "--help").stdout
        assert "--help" in shown
        assert not re.search(r"<bool>|BOOLEAN", shown), path


@pytest.mark.parametrize("command", [*COMMANDS, "models list", "models fetch", "models adapters"])
def test_every_command_has_help_with_examples(scope_: Callable[..., Ran], command: str) -> None:
    ran = scope_(*command.split(), "-h")
    assert ran.code == 0
    assert "Examples" in ran.stdout
    assert f"$ scope {command.split()[0]}" in ran.stdout


def test_no_arguments_show_the_help(scope_: Callable[..., Ran]) -> None:
    ran = scope_()
    assert "Usage" in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["slect"], "did you mean 'select'?"),
        (["models", "fecth"], "did you mean 'fetch'?"),
        (["list", "--josn"], "--json"),
        (["explain"], "SPEC"),
        (["plan", "scope@64"], "--tokens"),
        (["list", "--plugin", "nowhere.py"], "nowhere.py"),
    ],
)
def test_wrong_usage_is_2(scope_: Callable[..., Ran], args: list[str], wanted: str) -> None:
    ran = scope_(*args)
    assert ran.code == 2
    assert wanted in ran.stderr
    assert ran.stdout == ""


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["list", "salency"], "did you mean 'saliency'?"),
        (["show", "facility_locaton"], "did you mean 'facility_location'?"),
        (["show", "saliency:cls_atention"], "did you mean 'cls_attention'?"),
        (["explain", "scpoe@64"], "did you mean 'scope'?"),
        (["plan", "scope@600", "--tokens", "576"], "image 0 has 576 tokens"),
        (["select", "demo:coffee", "--tower", "fake-towr"], "did you mean 'fake-tower'?"),
        (["select", "demo:coffee", "--tower", "fake-model"], "'fake-model' is a model, not a tower"),
        (["select", "demo:coffee", "--tower", "fake-bare", "--spec", "scope@9"], "it has no CLS token"),
        (["select", "demo:coffee", "--tower", "fake-bare"], "suggests no spec"),
        (["models", "fetch", "fake-towr"], "did you mean 'fake-tower'?"),
    ],
)
def test_scope_errors_are_3_and_short(fake: Callable[..., Ran], args: list[str], wanted: str) -> None:
    ran = fake(*args)
    assert ran.code == 3
    assert ran.stderr.startswith("error: ")
    assert wanted in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_out_of_reach_is_4(fake: Callable[..., Ran]) -> None:
    ran = fake("select", "demo:coffee", "--tower", "fake-broken")
    assert ran.code == 4
    assert "'far away' is out of reach" in ran.stderr


def test_a_plugins_bug_is_70_and_debug_shows_where(fake: Callable[..., Ran]) -> None:
    ran = fake("select", "demo:coffee", "--tower", "fake-buggy")
    assert ran.code == 70
    assert "unexpected RuntimeError: the author's mistake" in ran.stderr
    assert "--debug" in ran.stderr
    assert "Traceback" not in ran.stderr
    debugged = fake("select", "demo:coffee", "--tower", "fake-buggy", "--debug")
    assert debugged.code == 70
    assert "Traceback" in debugged.stderr
    assert "in buggy" in debugged.stderr


def test_interrupt_is_130(fake: Callable[..., Ran]) -> None:
    ran = fake("select", "demo:coffee", "--tower", "fake-interrupted")
    assert (ran.code, ran.stderr) == (130, "error: interrupted")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_sigterm_is_143_and_removes_what_the_command_made_for_itself() -> None:
    program = """
import tempfile, time
from scope_core.cli import app

@app.command()
def wait():
    with tempfile.TemporaryDirectory() as folder:
        print(folder, flush=True)
        time.sleep(60)

app(["wait"])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert folder.is_dir()
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (143, "error: terminated\n")
    assert not folder.exists()


def test_debug_adds_the_traceback_of_scope_errors(scope_: Callable[..., Ran]) -> None:
    ran = scope_("--debug", "explain", "scpoe")
    assert ran.code == 3
    assert "Traceback" in ran.stderr


def test_options_of_the_program_may_stand_anywhere() -> None:
    assert hoisted(["list", "--plugin", "a.py", "--json", "--debug"]) == (
        ["--plugin", "a.py", "--debug"],
        ["list", "--json"],
    )
    assert hoisted(["list", "--plugin=a.py"]) == (["--plugin=a.py"], ["list"])
    assert hoisted(["run", "--", "--debug"]) == ([], ["run", "--", "--debug"])
    assert hoisted(["list", "--plugin"]) == (["--plugin"], ["list"])


@pytest.mark.parametrize("first", [True, False])
def test_a_plugin_file_gives_parts(scope_: Callable[..., Ran], first: bool) -> None:
    given, command = ["--plugin", str(FAKE_ZOO)], ["list", "saliency"]
    ran = scope_(*given, *command) if first else scope_(*command, *given)
    assert ran.code == 0
    assert "acme.half" in ran.stdout
    assert "every second token [odd ones]" in ran.stdout  # brackets are no markup
    assert "Acme 2026; from fake_zoo.py" in ran.words


def test_a_broken_plugin_file_is_an_error_that_names_it(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("import nothing_of_this_name")
    ran = scope_("list", "--plugin", path)
    assert ran.code == 3
    assert f"plugin file '{path}' failed to load: ModuleNotFoundError" in ran.stderr


def test_a_plugin_file_with_a_misspelt_hook_is_an_error(scope_: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("import scope_core\n@scope_core.parts.hookimpl\ndef scope_saliency_source():\n    return []\n")
    ran = scope_("list", "--plugin", path)
    assert ran.code == 3
    assert "did you mean 'scope_saliency_sources'?" in ran.stderr


def test_a_broken_installed_plugin_is_a_warning_and_is_quoted(
    scope_: Callable[..., Ran], broken_distribution: None
) -> None:
    ran = scope_("list", "recipe", "--json")
    assert ran.code == 0
    assert "scope" in [row["name"] for row in ran.json]
    assert "warning: plugin 'acme' of acme-pruning 1.2 (acme_broken) failed to load: ImportError: no luck" in ran.stderr
    asked = scope_("show", "acme.novelty")
    assert asked.code == 3
    assert "Perhaps it belongs to a broken plugin" in asked.stderr
    assert "acme-pruning 1.2" in asked.stderr


def test_listing_imports_no_torch() -> None:
    script = """
import json, sys
from scope_core.cli import app
for args in (["list"], ["list", "saliency"], ["--help"], ["models"], ["photos"]):
    try:
        app(args)
    except SystemExit as end:
        assert not end.code, (args, end.code)
print(json.dumps([name for name in ("torch", "transformers", "PIL", "numpy") if name in sys.modules]), file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(ran.stderr.strip().splitlines()[-1]) == []


def test_python_m_and_strict_mode(tmp_path: Path) -> None:
    ran = subprocess_of("list", "recipe", "--json")
    assert ran.returncode == 0
    assert "divprune" in [row["name"] for row in json.loads(ran.stdout)]
    assert ran.stderr == ""
    usage = subprocess_of("lst")
    assert usage.returncode == 2
    assert "Usage: scope" in usage.stderr


def test_disabled_plugins_are_named(scope_: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOPE_DISABLE_PLUGINS", "saliency")
    assert scope_("list", "saliency", "--json").json == []
    ran = scope_("explain", "scope@64")
    assert ran.code == 3
    assert "Disabled by SCOPE_DISABLE_PLUGINS: saliency (scope-core)" in ran.stderr


def test_a_narrow_encoding_ends_in_no_error(photo: Path) -> None:
    ran = subprocess_of(
        "select", str(photo), "--plugin", str(FAKE_ZOO), "--tower", "fake-tower", PYTHONIOENCODING="ascii"
    )
    assert ran.returncode == 0, ran.stderr
    assert "scope@9" in ran.stdout
