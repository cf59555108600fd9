"""Commands and zoo entries where the packages of scope-core's extras are not installed: which to install is said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Ran
from scope_core import MissingDependencyError, Registry
from scope_core.adapters import ZooEntry
from scope_core.cli.packages import extra_packages

EXTRAS = ("hf", "timm", "demo", "fast", "bench", "vllm")
IMPORTED = {"scikit-image": "skimage", "scikit-learn": "sklearn"}
"""Packages that are imported by another name than they are installed by."""
ALONG = ("huggingface_hub", "tokenizers", "torchvision", "torchaudio", "accelerate", "scipy")
"""What they bring."""


@pytest.fixture
def base_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package of any extra can be imported."""
    extras = extra_packages("scope-core")
    names = {name for extra, packages in extras.items() if extra in EXTRAS for name, _ in packages}
    assert names >= {"transformers", "timm"}
    for name in {*names, *ALONG}:
        absent(monkeypatch, IMPORTED.get(name, name))


def absent(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, name, None)


ENTRIES = ("scenes-llava", "llava-dinov2-random", "llava-1.5-shape-170m", "llava-1.5-7b")


@pytest.mark.usefixtures("base_install")
def test_every_zoo_entry_names_its_extra(registry: Registry) -> None:
    entries = [record.item for record in registry.records("zoo")]
    assert {entry.name for entry in entries} >= set(ENTRIES)
    for entry in entries:
        assert entry.requires, f"{entry.name} does not say which extra it needs"
        with pytest.raises(MissingDependencyError) as caught:
            entry.load()
        assert "scope-core[" in str(caught.value), f"{entry.name}: {caught.value}"
        assert entry.requires[0] in str(caught.value)


@pytest.mark.parametrize("package", ["transformers", "safetensors"])
@pytest.mark.parametrize("name", ["scenes-llava", "llava-dinov2-random", "dinov2-small"])
def test_one_package_of_an_extra_is_missing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    absent(monkeypatch, package)
    with pytest.raises(MissingDependencyError, match=r"[^.]\. Try: pip install ['\"]scope-core\[hf\]['\"]$"):
        registry.get("zoo", name).item.load()


@pytest.mark.usefixtures("base_install")
@pytest.mark.parametrize(
    "command",
    [
        *(f"run PHOTO -q what --model {name}" for name in ENTRIES),
        "run PHOTO -q what",
        "select PHOTO --spec scope@64",
        "select PHOTO --spec scope@64 --tower vit_base_patch14_reg4_dinov2",
        "compare PHOTO --keep 64",
        *(f"plan scope@64 --size 336x672 --model {name}" for name in ENTRIES),
        *(f"models fetch {name}" for name in ENTRIES if "shape" not in name),
        "bench accuracy --quick --model llava-dinov2-random --no-cache",
        "bench speed capture --model llava-1.5-shape-170m",
        "bench speed select --photos PHOTO",
        "serve acme/model --spec scope@64 --print",
        "serve acme/model --spec scope@64",
    ],
)
def test_every_command_names_the_extra(scope_: Callable[..., Ran], photo: Path, command: str) -> None:
    ran = scope_(*(str(photo) if word == "PHOTO" else word for word in command.split()))
    assert ran.code == 3, ran.stderr
    assert "pip install 'scope-core[" in ran.stderr.replace('"', "'")
    assert "bug" not in ran.stderr


@pytest.mark.usefixtures("base_install")
@pytest.mark.parametrize("command", ["models list", "models list --json", "models adapters", "show scenes-llava"])
def test_what_can_be_said_without_them_is_said(scope_: Callable[..., Ran], command: str) -> None:
    ran = scope_(*command.split())
    assert ran.code == 0, ran.stderr


def test_an_entry_that_names_no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "acme_zoo.py").write_text(
        "def load(source):\n    import acme_gone\n\n\ndef broken(source):\n    import acme_zoo.gone\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=r"'x' cannot be loaded: .*acme_gone.* Try: pip show acme_zoo"):
        ZooEntry("x", "model", "acme_zoo:load", "", "").load()
    with pytest.raises(ModuleNotFoundError, match=r"acme_zoo\.gone") as caught:  # a bug of its own
        ZooEntry("x", "model", "acme_zoo:broken", "", "").load()
    assert not isinstance(caught.value, MissingDependencyError)


def test_imports_of_a_plugins_command(
    scope_: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "acme_imports.py"
    plugin.write_text(
        "import importlib\n\nimport scope_core as scope\n\n\n"
        "def need(module: str) -> None:\n    importlib.import_module(module)\n\n\n"
        "@scope.parts.hookimpl\ndef scope_commands():\n"
        "    yield scope.commands.Command('acme.need', __name__ + ':need', 'imports')\n"
    )
    absent(monkeypatch, "transformers")
    for module, code, words in (
        ("transformers", 3, "transformers is not installed: pip install 'scope-core[hf]'"),
        ("acme_gone", 3, "the Python package acme_gone is not installed; `scope doctor` lists"),
        ("scope_core.gone", 70, "No module named 'scope_core.gone'. This is a bug"),
    ):
        ran = scope_("--plugin", plugin, "acme.need", module)
        assert ran.code == code, ran.stderr
        assert words in ran.stderr
