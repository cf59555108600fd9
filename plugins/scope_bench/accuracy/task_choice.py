"""Choice of a task: by name, by a YAML file, or by a mapping on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import ValidationError

from scope_core import SpecError
from scope_core.commands import explain
from scope_core.parts import ComponentSpec, Slot, Spec

if TYPE_CHECKING:
    from scope_core import Registry
    from scope_core.tasks import Task


class _Choice(Spec):
    """A spec with a task."""

    task: Annotated[ComponentSpec, Slot("task")]


def read_task(text: str, registry: Registry) -> Task[Any]:
    """The task that ``text`` describes.

    Args:
        text: A name, the path of a YAML file with ``name`` and options, or ``"{name: ..., option: ...}"``.
        registry: The registry that names are looked up in.

    Raises:
        SpecError: the task or file does not exist, or an option is wrong.
    """
    data: Any = text
    if text.endswith((".yaml", ".yml", ".json")) or text.lstrip().startswith("{"):
        try:
            data = yaml.safe_load(text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise SpecError(f"task '{text[:200]}' cannot be read: {' '.join(str(error).split())[:600]}") from error
    try:
        choice = _Choice.model_validate({"task": data}, context={"registry": registry})
    except ValidationError as error:
        raise SpecError(explain(error, f"task '{text}'", {"task": data})) from error
    return registry.build("task", choice.task)  # type: ignore[no-any-return]
