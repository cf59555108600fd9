"""``scope new plugin``: every package it writes installs, is listed, and passes its own tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import toml_files
import yaml
from docs.test_example_plugin import install

import scope_core as scope
from cli.conftest import Ran
from scope_core.cli.commands.new import offered

Scope = Callable[..., Ran]
KINDS = tuple(offered())
SEVERAL = ("combiner", "recipe", "position", "task")

USES = """
import json, sys
import scope_core as scope
scope.default_registry()
print(json.dumps([scope.Pruner(spec).label for spec in json.loads(sys.argv[1])]))
"""


def vendor(kind: str) -> str:
    return f"my_{kind}"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of each kind."""
    from cli.conftest import run

    folder = tmp_path_factory.mktemp("new")
    for kind in KINDS:
        made = run("new", "plugin", f"{vendor(kind)}.first_try", "--kind", kind, "--out", folder)
        assert made.code == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One package with parts of several kinds, all but the first added to it."""
    from cli.conftest import run

    folder = tmp_path_factory.mktemp("into")
    for number, kind in enumerate(SEVERAL):
        where = ("--into", folder / "scope-everything") if number else ("--out", folder)
        made = run("new", "plugin", f"everything.of_{kind}", "--kind", kind, *where)
        assert made.code == 0, made.stderr
    for name in ("another", "further"):  # of the default kind
        assert run("new", "plugin", f"everything.{name}", *where).code == 0
    return folder / "scope-everything"


@pytest.fixture(scope="module")
def installed(written: Path, whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of them are installed, as wheels, by pip and without a network."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    shutil.copytree(written, source, dirs_exist_ok=True)  # building leaves files behind
    shutil.copytree(whole, source / whole.name)
    install(*sorted(source.iterdir()), target=site)
    return site


def python(*arguments: str, site: Path, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", "SCOPE_STRICT_PLUGINS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_kind_that_the_kit_checks_is_offered() -> None:
    from scope_core import testing

    checked = {name.removeprefix("check_") for name in testing.__all__ if name.startswith("check_")}
    assert set(KINDS) == checked | {"recipe"}


def test_all_of_them_pass_their_own_tests_as_written(
    written: Path, whole: Path, installed: Path, tmp_path: Path
) -> None:
    tests = [str(path) for path in sorted(written.glob("*/tests"))]
    assert len(tests) == len(KINDS)
    tests.append(str(whole / "tests"))
    said = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *tests,
                  site=installed, cwd=tmp_path)  # fmt: skip
    passed = re.search(r"(\d+) passed", said)
    assert passed, said
    assert int(passed[1]) > 4 * (len(KINDS) + len(SEVERAL)), said
    assert not re.search("skipped|warning", said), said


def test_their_readmes_show_specs_that_are_valid(written: Path, installed: Path, tmp_path: Path) -> None:
    texts = [re.search(r"```yaml\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.DOTALL)[1]
             for folder in sorted(written.iterdir()) if folder.name != "scope-my-task"]  # fmt: skip
    labels = json.loads(python("-c", USES, json.dumps([yaml.safe_load(text) for text in texts]),
                               site=installed, cwd=tmp_path))  # fmt: skip
    assert len(labels) == len(KINDS) - 1
    task = (written / "scope-my-task" / "README.md").read_text("utf-8")
    assert "scope bench accuracy --task my_task.first_try" in task


def test_a_package_gets_further_parts(scope_: Scope, whole: Path, tmp_path: Path) -> None:
    hooks = (whole / "src" / "scope_everything" / "__init__.py").read_text("utf-8")
    assert hooks.count("@hookimpl") == len(SEVERAL) + 1
    assert hooks.count("yield ") == len(SEVERAL) + 2
    rows = re.findall(r"^\| (\w+) \| `everything\.", (whole / "README.md").read_text("utf-8"), re.MULTILINE)
    assert rows == [*SEVERAL, "saliency", "saliency"]
    again = scope_("new", "plugin", "everything.another", "--into", whole)
    assert (again.code, "already exists" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("project", "hooks", "said"),
    [
        (None, None, "has no pyproject.toml"),
        ('[project]\nname = "a"\n', None, "has no entry point of scope-core; add [project.entry-points.scope_core]"),
        ('[project.entry-points.scope_core]\na = "mine"\n', None, "the module of hooks 'mine' is no package below"),
        ('[project.entry-points.scope_core]\na = "mine"\n', "def x(:", "it is not valid Python: line 1"),
        ("[project.entry-points.'scope_core']\na = \"mine\"\n",
         "def scope_saliency_sources():\n    return []\n", "does not end in a yield. Add this to it by hand"),
    ],
)  # fmt: skip
def test_packages_that_cannot_be_added_to(
    scope_: Scope, tmp_path: Path, project: str | None, hooks: str | None, said: str
) -> None:
    if project is not None:
        (tmp_path / "pyproject.toml").write_text(project)
    if hooks is not None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "__init__.py").write_text(hooks)
    before = sorted(tmp_path.rglob("*"))
    ran = scope_("new", "plugin", "acme.peak", "--into", tmp_path)
    assert (ran.code, sorted(tmp_path.rglob("*"))) == (2, before)
    assert said in " ".join(ran.stderr.replace("│", " ").split())


def test_hooks_of_ones_own_keep_what_they_have(scope_: Scope, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "own"\n[project.entry-points.scope_core]\na = "mine"\n[tool.x]\nb = "c"\n'
    )
    (tmp_path / "mine").mkdir()
    init = tmp_path / "mine" / "__init__.py"
    init.write_text(
        '"""Mine."""\nfrom scope_core.parts import Entry as E, hookimpl\n\n@hookimpl\ndef scope_combiners():\n'
        '    yield E("mine.x:X", "acme.x", "mine")\n\nLAST = 1\n'
    )
    assert scope_("new", "plugin", "acme.mix", "--kind", "combiner", "--into", tmp_path).code == 0
    text = init.read_text()
    compile(text, "mine", "exec")
    assert text.index('"acme.x"') < text.index('"acme.mix"') < text.index("LAST = 1")
    assert "from scope_core.parts import Entry\n" in text
    assert (tmp_path / "mine" / "mix.py").is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_files(written: Path, kind: str) -> None:
    folder = written / f"scope-my-{kind}"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    module = f"src/scope_my_{kind}"
    assert files == {"pyproject.toml", "README.md", ".gitignore", f"{module}/__init__.py", f"{module}/first_try.py",
                     "tests/test_first_try.py"}  # fmt: skip
    for path in files:
        text = (folder / path).read_text("utf-8")
        assert not re.search(r"\$[{$a-z]", text), f"{path} has a place that was not filled"
        assert max(map(len, text.splitlines())) <= 120, path
        if path.endswith(".py"):
            compile(text, path, "exec")
            assert len(text.splitlines()) <= 60, f"{path} is more than a screen"
    project = toml_files.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["scope_core"] == {vendor(kind): f"scope_my_{kind}"}
    assert "license" not in project


def test_says_what_to_do_next(scope_: Scope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = scope_("new", "plugin", "acme.peak")
    assert "pip install -e 'scope-acme[test]'" in made.words
    assert "pytest 'scope-acme'" in made.words
    assert "acme.peak" in (tmp_path / "scope-acme" / "src" / "scope_acme" / "peak.py").read_text("utf-8")
    data = scope_("new", "plugin", "acme2.peak", "--json").json
    assert data["folder"] == "scope-acme2"
    assert all((tmp_path / "scope-acme2" / file).is_file() for file in data["files"])


def test_nothing_is_overwritten(scope_: Scope, tmp_path: Path) -> None:
    assert scope_("new", "plugin", "acme.peak", "--out", tmp_path).code == 0
    mine = tmp_path / "scope-acme" / "src" / "scope_acme" / "peak.py"
    mine.write_text("# a week's work\n")
    again = scope_("new", "plugin", "acme.flat", "--out", tmp_path)
    assert (again.code, mine.read_text()) == (2, "# a week's work\n")
    assert "already exists" in again.stderr
    assert "--into" in again.stderr
    assert not (mine.parent / "flat.py").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("peak", "e.g. acme.peak"),
        ("Acme.Peak", "e.g. acme.peak"),
        ("acme.my-peak", "e.g. acme.my_peak"),
        ("acme.", "VENDOR.PART"),
        (".peak", "VENDOR.PART"),
        ("acme.2peak", "beginning with a letter"),
        ("acme.a.b", "VENDOR.PART"),
        ("acme.pe__ak", "VENDOR.PART"),
        ("acme.../../peak", "VENDOR.PART"),
        ("acme.class", "e.g. acme.my_class"),
        ("acme.selector", "e.g. acme.my_selector"),
        ("acme.tensor", "e.g. acme.my_tensor"),
        ("core.peak", "'scope_core' is already installed"),
        ("", "VENDOR.PART"),
    ],
)
def test_bad_names(scope_: Scope, tmp_path: Path, name: str, said: str) -> None:
    ran = scope_("new", "plugin", name, "--out", tmp_path)
    assert ran.code == 2
    assert said in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_bad_kind_and_folder(scope_: Scope, tmp_path: Path) -> None:
    ran = scope_("new", "plugin", "acme.peak", "--kind", "saliancy", "--out", tmp_path)
    assert ran.code == 2
    assert "did you mean 'saliency'?" in ran.stderr
    ran = scope_("new", "plugin", "acme.peak", "--kind", "zoo", "--out", tmp_path)
    assert ran.code == 2
    assert "hooks reference" in ran.stderr
    ran = scope_("new", "plugin", "acme.peak", "--out", tmp_path / "nowhere")
    assert ran.code == 2
    assert "does not exist" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_names_of_defaults_come_from_the_registry(written: Path) -> None:
    recipe = (written / "scope-my-recipe" / "src" / "scope_my_recipe" / "first_try.py").read_text("utf-8")
    for kind in ("saliency", "similarity", "coverage", "combiner"):
        assert f'"{kind}": "{scope.default_registry().default(kind).name}"' in recipe
