"""Names for authors of ``scope`` commands and self-checks: the records a hook yields, and helpers for output.

from scope_core.commands import Command, note, progress, state_of, table
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_core.faces import lazy

if TYPE_CHECKING:
    from scope_core.cli.output import (
        check_out,
        done,
        loading,
        make_folder,
        note,
        out,
        percent,
        plain_text,
        progress,
        show_json,
        table,
        warn,
        working,
        write_text,
    )
    from scope_core.cli.photos import Picture, open_pictures
    from scope_core.cli.shell import ScopeGroup, examples, numbers, split_commas
    from scope_core.cli.state import State, state_of
    from scope_core.errors import did_you_mean, listed
    from scope_core.pruning.spec_reader import explain
    from scope_core.registry.entries import Check, Command, Finding, import_target
    from scope_core.structures.receipt import THETAS

_HOMES = {
    "cli.output": "check_out done loading make_folder note out percent plain_text progress show_json table warn "
    "working write_text",
    "cli.photos": "Picture open_pictures",
    "cli.shell": "ScopeGroup examples numbers split_commas",
    "cli.state": "State state_of",
    "errors": "did_you_mean listed",
    "pruning.spec_reader": "explain",
    "registry.entries": "Check Command Finding import_target",
    "structures.receipt": "THETAS",
}

__all__ = [
    "THETAS",
    "Check",
    "Command",
    "Finding",
    "Picture",
    "ScopeGroup",
    "State",
    "check_out",
    "did_you_mean",
    "done",
    "examples",
    "explain",
    "import_target",
    "listed",
    "loading",
    "make_folder",
    "note",
    "numbers",
    "open_pictures",
    "out",
    "percent",
    "plain_text",
    "progress",
    "show_json",
    "split_commas",
    "state_of",
    "table",
    "warn",
    "working",
    "write_text",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and report unknown names
    __getattr__, __dir__ = lazy(__name__, _HOMES)
