"""Names for authors of tasks, which measure accuracy: examples, questions, outcomes.

from scope_core.tasks import Example, Question, Task
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_core.faces import lazy

if TYPE_CHECKING:
    from scope_core.parts.task import Box as Box
    from scope_core.parts.task import Example as Example
    from scope_core.parts.task import Outcome as Outcome
    from scope_core.parts.task import Question as Question
    from scope_core.parts.task import Task as Task

_HOMES = {
    "parts.task": "Box Example Outcome Question Task",
}

if not TYPE_CHECKING:  # type checkers read the imports above, and report unknown names
    __getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
