"""Every error this project raises on purpose.

    ScopeError
    +-- SpecError (ValueError)              a spec, recipe or spec file is wrong
    |   +-- BudgetError                     a budget that cannot be met
    +-- UnknownNameError (LookupError)      no part, recipe, adapter or zoo entry has this name
    +-- SignalError (LookupError)           a part needs a signal that is not there
    +-- TokensError (ValueError)            features, masks or saliency with a wrong shape or bad numbers
    +-- TooLargeError (MemoryError)         selecting would need more memory than there is, or than is allowed
    +-- PluginError (RuntimeError)          a plugin could not be loaded
    |   +-- PluginConflictError             two distributions give the same name
    |   +-- PluginOutputError               a plugin returned something its contract forbids
    +-- AdapterError (TypeError)            no adapter fits the model, or the model is not as declared
    +-- AttachError (RuntimeError)          attaching, or a call on an attached model, cannot work
    +-- ZooError (OSError)                  weights or a photograph cannot be had
    +-- TaskError (ValueError)              a task's examples cannot be had, or a benchmark cannot be run as asked
    +-- MissingDependencyError (ImportError) an optional package is not installed

Messages say what was given, where, what is allowed, the nearest valid name and the next command.
Each class is also the builtin a caller would expect to catch.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ScopeError(Exception):
    """Base of every error raised on purpose by this project."""


class SpecError(ScopeError, ValueError):
    """A spec, recipe or spec file is wrong."""


class BudgetError(SpecError):
    """A budget that the given images cannot meet."""


class UnknownNameError(ScopeError, LookupError):
    """No installed part, recipe, adapter or zoo entry has this name."""


class SignalError(ScopeError, LookupError):
    """A part needs a signal that nothing provides."""


class TokensError(ScopeError, ValueError):
    """Features, masks, saliency or signals with a wrong shape, dtype or bad numbers."""


class TooLargeError(ScopeError, MemoryError):
    """Selecting would need more memory than there is, or than the spec allows; nothing was allocated."""


class PluginError(ScopeError, RuntimeError):
    """A plugin could not be loaded."""


class PluginConflictError(PluginError):
    """Two distributions give a part of the same kind and name."""


class PluginOutputError(PluginError):
    """A plugin's part returned something its contract forbids."""


class AdapterError(ScopeError, TypeError):
    """No adapter fits the model, several do, or the model is not what its adapter declares."""


class AttachError(ScopeError, RuntimeError):
    """Attaching, or a call made on an attached model, cannot work."""


class ZooError(ScopeError, OSError):
    """A zoo entry's weights, or a photograph, cannot be had."""


class TaskError(ScopeError, ValueError):
    """A task's split or examples cannot be had, or a benchmark cannot be run as asked."""


class MissingDependencyError(ScopeError, ImportError):
    """An optional package is needed and not installed."""


def listed(names: Iterable[str]) -> str:
    """The names, sorted and comma separated; ``none`` where there are none."""
    return ", ".join(sorted(names)) or "none"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.55)
    return f" (did you mean '{near[0]}'?)" if near else ""
