"""Which task: by name, by a YAML file, or by a table written on the command line."""

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
    """What a task is chosen by."""

    task: Annotated[ComponentSpec, Slot("task")]


def read_task(text: str, registry: Registry) -> Task[Any]:
    """The live task that ``text`` stands for.

    Args:
        text: A name, the path of a YAML file with ``name`` and options, or ``"{name: ..., option: ...}"``.
        registry: Where names are looked up.

    Raises:
        SpecError: there is no such task or file, or an option is wrong.
    """
    data: Any = text
    if text.endswith((".yaml", ".yml", ".json")) or text.lstrip().startswith("{"):
        try:
            data = yaml.safe_load(text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SpecError(f"task '{text}' cannot be read: {' '.join(str(error).split())}") from error
    try:
        choice = _Choice.model_validate({"task": data}, context={"registry": registry})
    except ValidationError as error:
        raise SpecError(explain(error, f"task '{text}'", {"task": data})) from error
    return registry.build("task", choice.task)  # type: ignore[no-any-return]
