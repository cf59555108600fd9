"""The public names: pinned, documented, importable, and the same in every table that lists them."""

from __future__ import annotations

import ast
import importlib
import inspect
import typing

import pytest

import scope_core as scope
from architecture.sources import sources

PINNED = """
AdapterError Asked AttachError Attachment Blocks Box Budget BudgetError CONTRACT Check Combiner Command ComponentSpec
Constraint CoverageFunction Declaration Encoding Entry Example Execution Finding Group ImageLayout ImageReceipt Kernel
Layout LoadedModel Memo Merger MissingDependencyError ModelAdapter Offer Optimizer Outcome Part Partition Picks Plan
PluginConflictError PluginError PluginOutputError PluginWarning PositionPolicy Problem Pruner PrunerSpec Question
Receipt Recipe Registry SaliencySource Schedule ScopeError Scoring Selection Selector Session SignalError SignalName
Signals SimilarityMetric Slot Span SpecError Task TaskError TokensError TooLargeError Tower UnknownNameError
VisualTokens Way ZooEntry ZooError __version__ apportion by_group check_fit default_registry discover fill free_memory
greedy hookimpl load matrix_bytes parse_signal plan_execution rank replace_attribute resolve scores select take_turns
units
"""


def is_class(value: object) -> bool:
    """Python 3.10 takes ``tuple[Span, ...]`` for a class as well."""
    return inspect.isclass(value) and typing.get_origin(value) is None


def test_the_public_names_are_pinned() -> None:
    """A name that is gone breaks somebody; a new one is a promise. Change this list on purpose."""
    assert sorted(PINNED.split()) == sorted(scope.__all__)


def test_they_are_sorted_and_listed_by_dir() -> None:
    assert scope.__all__ == sorted(scope.__all__, key=lambda name: (not name.isupper(), name))  # as ruff sorts them
    assert dir(scope) == sorted(scope.__all__)


@pytest.mark.parametrize("name", scope.__all__)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    value = getattr(scope, name)
    if name not in ("__version__", "Group", "Way", "CONTRACT"):  # no classes, no functions; documented where they stand
        assert inspect.getdoc(value), f"scope_core.{name} has no docstring"
    if is_class(value) or inspect.isfunction(value):
        assert value.__module__.startswith("scope_core.")


def test_group_is_a_tuple_of_spans() -> None:
    assert typing.get_args(scope.Group) == (scope.Span, ...)


def test_the_lazy_table_and_the_names_for_type_checkers_agree() -> None:
    (source,) = (source for source in sources("scope_core") if source.module == "scope_core")
    block = next(node for node in source.tree.body if isinstance(node, ast.If))
    for_types = {
        alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    lazy = {name: f"scope_core.{home}" for name, home in scope._HOME_OF.items()}
    assert for_types == lazy
    assert sorted([*lazy, "__version__"]) == sorted(scope.__all__)


def test_each_name_is_defined_where_the_table_says() -> None:
    for name, home in scope._HOME_OF.items():
        value = getattr(importlib.import_module(f"scope_core.{home}"), name)
        if is_class(value) or inspect.isfunction(value):
            assert value.__module__ == f"scope_core.{home}"


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'scope_core' has no attribute 'Prunr'"):
        _ = scope.Prunr  # type: ignore[attr-defined]


def test_public_classes_document_their_methods() -> None:
    for name in scope.__all__:
        value = getattr(scope, name)
        if is_class(value):
            for method, function in vars(value).items():
                if not method.startswith("_") and (inspect.isfunction(function) or isinstance(function, property)):
                    assert inspect.getdoc(getattr(value, method)), f"scope_core.{name}.{method} has no docstring"


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
