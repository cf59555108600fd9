"""The public names: pinned, documented, importable, and the same in every table that lists them."""

from __future__ import annotations

import ast
import importlib
import inspect
import typing

import pytest

import scope_core as scope
from architecture.sources import sources
from scope_core.parts import Group, Span

FACES = {
    "scope_core": """
AdapterError AttachError Attachment BudgetError ImageReceipt Layout MissingDependencyError Plan PluginConflictError
PluginError PluginOutputError PluginWarning Pruner PrunerSpec Receipt Registry ScopeError Selection SignalError
SpecError Stream Sweep TaskError TokensError TooLargeError UnknownNameError VisualTokens ZooError __version__
attached by_group default_registry detach discover greedy load rank select sweep take_turns ungroup
""",
    "scope_core.parts": """
Blocks Budget CONTRACT Calibration Combiner ComponentSpec Constraint CoverageFunction Entry Execution Group GroupSize
ImageLayout Kernel Merger Optimizer Part Partition Picks PositionPolicy Problem Recipe SaliencySource Scoring Selector
SignalName Signals SimilarityMetric Slot Span Spec Statistic TokenPartition Way apportion fill free_memory hookimpl
matrix_bytes
measured parse_signal plan_execution scores similarities similarity_rows unit_rows units
""",
    "scope_core.adapters": """
Asked Declaration Encoding LoadedModel Memo ModelAdapter Offer Reader RecipeFit Schedule Session Tower ZooEntry
attention_bias cache_folder check_fit compatible_parts find_adapter is_file_name point_of quoted read_images recipe_fits
remove_leftovers replace_attribute replacing resolve reusable sole_user upright_rgb with_frames
""",
    "scope_core.plot": """
compare coverage_curve coverage_map kept order
""",
    "scope_core.tasks": """
Box Example Outcome Question Task
""",
    "scope_core.commands": """
CACHE_DIR Check Command Finding Picture ScopeGroup State THETAS check_out did_you_mean done examples explain
import_target is_clip json_schema label_of listed loading make_folder note numbers open_pictures out percent plain_text
progress read_spec read_spec_text show_json split_commas state_of table warn working write_text
""",
    "scope_adapters": """
AnyRes ClipEmbeddings ClipTextSimilarity Encoded HuggingFaceAdapter HuggingFaceTower Llava LlavaOriginal
MergedPatches ProjectedTower ProjectorSensitivity Shuffled Spliced TimmTower TowerLayout base_of from_hub from_timm
method_page noise tiles_of timm_probe
""",
}
"""What each face names."""

NAMES = [(face, name) for face, names in FACES.items() for name in names.split()]


def is_class(value: object) -> bool:
    """Python 3.10 takes ``tuple[Span, ...]`` for a class as well."""
    return inspect.isclass(value) and typing.get_origin(value) is None


@pytest.mark.parametrize("face", FACES)
def test_the_public_names_are_pinned(face: str) -> None:
    """A name that is gone breaks somebody; a new one is a promise. Change this list on purpose."""
    module = importlib.import_module(face)
    assert sorted(FACES[face].split()) == sorted(module.__all__) == sorted(dir(module))
    assert module.__all__ == sorted(module.__all__, key=lambda name: (not name.isupper(), name))  # as ruff sorts them


def test_a_name_has_one_face() -> None:
    names = [name for _, name in NAMES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("face", "name"), NAMES)
def test_every_name_is_there_and_says_what_it_is(face: str, name: str) -> None:
    value = getattr(importlib.import_module(face), name)
    undocumented = ("__version__", "Group", "Way", "CONTRACT", "CACHE_DIR")
    if name not in undocumented:  # no classes, no functions; documented where they stand
        assert inspect.getdoc(value), f"{face}.{name} has no docstring"
    if is_class(value) or inspect.isfunction(value):
        assert value.__module__.startswith(f"{face.partition('.')[0]}.")


def test_group_is_a_tuple_of_spans() -> None:
    assert typing.get_args(Group) == (Span, ...)


@pytest.mark.parametrize("face", FACES)
def test_the_lazy_table_and_the_names_for_type_checkers_agree(face: str) -> None:
    (source,) = (source for source in sources(face.partition(".")[0]) if source.module == face)
    block = next(node for node in source.tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom) and node.module != "scope_core"]
    for_types = {alias.name: node.module for node in imports for alias in node.names}
    homes, root = importlib.import_module(face)._HOMES, face.partition(".")[0]
    assert for_types == {name: f"{root}.{home}" for home, names in homes.items() for name in names.split()}
    assert set(for_types) == set(FACES[face].split())


def test_each_name_is_defined_where_the_table_says() -> None:
    for face in FACES:
        root = face.partition(".")[0]
        for home, names in importlib.import_module(face)._HOMES.items():
            for name in names.split():
                value = getattr(importlib.import_module(f"{root}.{home}"), name)
                if is_class(value) or inspect.isfunction(value):
                    assert value.__module__ == f"{root}.{home}"


def test_a_name_that_moved_says_where_it_is() -> None:
    moved = {name: face for face, names in scope._MOVED.items() for name in names.split()}
    assert set(moved) <= {name for face, name in NAMES if face != "scope_core"}
    with pytest.raises(ImportError, match=r"from scope_core\.parts import SaliencySource"):
        from scope_core import SaliencySource  # noqa: F401
    for name, face in moved.items():
        with pytest.raises(
            ImportError, match=f"scope_core.{name} has moved to scope_core.{face}: from scope_core.{face} import"
        ):
            getattr(scope, name)


def test_faces_are_attributes_of_the_root() -> None:
    assert scope.parts.Budget is importlib.import_module("scope_core.parts").Budget
    assert scope.testing.check_adapter is importlib.import_module("scope_core.testing").check_adapter


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'scope_core' has no attribute 'Prunr'"):
        _ = scope.Prunr  # type: ignore[attr-defined]


def test_public_classes_document_their_methods() -> None:
    for face, name in NAMES:
        value = getattr(importlib.import_module(face), name)
        if is_class(value):
            for method, function in vars(value).items():
                if not method.startswith("_") and (inspect.isfunction(function) or isinstance(function, property)):
                    assert inspect.getdoc(getattr(value, method)), f"{face}.{name}.{method} has no docstring"


def test_every_error_is_a_scope_error_and_the_builtin_it_says() -> None:
    fitting = {
        "SpecError": ValueError,
        "BudgetError": ValueError,
        "UnknownNameError": LookupError,
        "SignalError": LookupError,
        "TokensError": ValueError,
        "TooLargeError": MemoryError,
        "PluginError": RuntimeError,
        "PluginConflictError": RuntimeError,
        "PluginOutputError": RuntimeError,
        "AdapterError": TypeError,
        "AttachError": RuntimeError,
        "ZooError": OSError,
        "TaskError": ValueError,
        "MissingDependencyError": ImportError,
    }
    raised = {name for name in scope.__all__ if name.endswith("Error")} - {"ScopeError"}
    assert raised == set(fitting)
    for name, builtin in fitting.items():
        assert issubclass(getattr(scope, name), scope.ScopeError)
        assert issubclass(getattr(scope, name), builtin)
