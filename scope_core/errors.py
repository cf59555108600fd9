"""Every error this project raises on purpose.

    ScopeError
    +-- SpecError (ValueError)              a spec, recipe or spec file is wrong
    |   +-- BudgetError                     a budget that cannot be met
    +-- UnknownNameError (LookupError)      no part, recipe, adapter or zoo entry has this name
    +-- SignalError (LookupError)           a part needs a signal that nothing provides
    +-- TokensError (ValueError)            features, masks or saliency with a wrong shape or bad numbers
    +-- TooLargeError (MemoryError)         selecting would need more memory than is free or allowed
    +-- PluginError (RuntimeError)          a plugin could not be loaded
    |   +-- PluginConflictError             two distributions register the same name
    |   +-- PluginOutputError               a part returned something that its contract forbids
    +-- AdapterError (TypeError)            no adapter fits the model, or the model is not as declared
    +-- AttachError (RuntimeError)          a pruner cannot be attached, or an attached model cannot serve a call
    +-- ZooError (OSError)                  the weights of a zoo entry, or an image, cannot be loaded
    +-- TaskError (ValueError)              a task's examples cannot be loaded, or a benchmark cannot be run as asked
    +-- MissingDependencyError (ImportError) an optional package is not installed

Messages say what was given, where, what is allowed, the nearest valid name and the next command.
Each class is also the builtin a caller would expect to catch.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any


class ScopeError(Exception):
    """Base of every error raised on purpose by this project."""


class SpecError(ScopeError, ValueError):
    """A wrong spec, recipe or spec file."""


class BudgetError(SpecError):
    """A budget that the given images cannot meet."""


class UnknownNameError(ScopeError, LookupError):
    """A name that no installed part, recipe, adapter or zoo entry has."""


class SignalError(ScopeError, LookupError):
    """A signal that a part needs and nothing provides."""


class TokensError(ScopeError, ValueError):
    """Features, masks, saliency or signals with a wrong shape, dtype or bad numbers."""


class TooLargeError(ScopeError, MemoryError):
    """Selecting would need more memory than is free, or than the spec allows. Raised before anything is allocated."""


class PluginError(ScopeError, RuntimeError):
    """A plugin could not be loaded."""


class PluginConflictError(PluginError):
    """Two distributions register a part of the same kind and name."""


class PluginOutputError(PluginError):
    """A part returned something that its contract forbids."""


class AdapterError(ScopeError, TypeError):
    """No adapter fits the model, several do, or the model is not what its adapter declares."""


class AttachError(ScopeError, RuntimeError):
    """A pruner cannot be attached, or an attached model cannot serve a call."""


class ZooError(ScopeError, OSError):
    """The weights of a zoo entry, or an image, cannot be loaded."""


class TaskError(ScopeError, ValueError):
    """A task's split or examples cannot be loaded, or a benchmark cannot be run as asked."""


class MissingDependencyError(ScopeError, ImportError):
    """An optional package is needed and not installed."""


def listed(names: Iterable[str]) -> str:
    """The names, sorted and comma separated; ``none`` if there are none."""
    return ", ".join(sorted(names)) or "none"


def choices(names: Iterable[str], *, most: int = 50) -> str:
    """`listed`; of more than ``most`` names, variants (``scope@no_cls`` of ``scope``) are only counted."""
    known = set(names)
    variants = {name for name in known if "@" in name and name.partition("@")[0] in known}
    if len(known) <= most or not variants:
        return listed(known)
    return f"{listed(known - variants)}, and {len(variants)} variants, such as '{min(variants)}'"


def quoted(value: Any, longest: int = 100) -> str:
    """A user's value for a message: its ``repr``, shortened to ``longest`` characters however large it is."""
    if isinstance(value, str) and len(value) > longest:
        value = f"{value[: longest // 2]}...{value[-longest // 2 :]}"
    try:
        text = repr(value) if isinstance(value, str) else _SHORT.repr(value)
    except Exception:  # a whole number of more digits than Python writes, or a third-party class
        bits = f" of {value.bit_length():,} bits" if isinstance(value, int) else ""
        return f"<{type(value).__name__}{bits}>"
    return text if len(text) <= longest + 10 else f"{text[:longest]}..."


_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxother = 80


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.55) -> str:
    """The known name that is nearest, or an empty string if none is as near as ``cutoff``."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff) if len(name) <= 100 else []
    return near[0] if near else ""


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.55) -> str:
    """`` (did you mean 'x'?)`` for the nearest known name, or an empty string if none is as near as ``cutoff``."""
    near = nearest(name, known, cutoff=cutoff)
    return f" (did you mean '{near}'?)" if near else ""
