"""Names for authors of ``scope`` commands and self-checks: the records a hook yields, and helpers for output.

from scope_core.commands import Command, note, progress, state_of, table
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scope_core.faces import lazy

if TYPE_CHECKING:
    from scope_core.cli.output import check_out as check_out
    from scope_core.cli.output import done as done
    from scope_core.cli.output import loading as loading
    from scope_core.cli.output import make_folder as make_folder
    from scope_core.cli.output import note as note
    from scope_core.cli.output import out as out
    from scope_core.cli.output import plain_text as plain_text
    from scope_core.cli.output import progress as progress
    from scope_core.cli.output import show_json as show_json
    from scope_core.cli.output import table as table
    from scope_core.cli.output import warn as warn
    from scope_core.cli.output import working as working
    from scope_core.cli.output import write_text as write_text
    from scope_core.cli.photos import Picture as Picture
    from scope_core.cli.photos import open_pictures as open_pictures
    from scope_core.cli.shell import ScopeGroup as ScopeGroup
    from scope_core.cli.shell import examples as examples
    from scope_core.cli.shell import numbers as numbers
    from scope_core.cli.shell import split_commas as split_commas
    from scope_core.cli.state import CACHE_DIR as CACHE_DIR
    from scope_core.cli.state import State as State
    from scope_core.cli.state import state_of as state_of
    from scope_core.clips import is_clip as is_clip
    from scope_core.drawing.text import percent as percent
    from scope_core.errors import did_you_mean as did_you_mean
    from scope_core.errors import listed as listed
    from scope_core.pruning.labels import label_of as label_of
    from scope_core.pruning.spec_reader import explain as explain
    from scope_core.pruning.spec_reader import read_spec as read_spec
    from scope_core.pruning.spec_reader import read_spec_text as read_spec_text
    from scope_core.pruning.spec_schema import json_schema as json_schema
    from scope_core.registry.entries import Check as Check
    from scope_core.registry.entries import Command as Command
    from scope_core.registry.entries import Finding as Finding
    from scope_core.registry.targets import import_target as import_target
    from scope_core.structures.receipt import THETAS as THETAS

_HOMES = {
    "cli.output": "check_out done loading make_folder note out plain_text progress show_json table warn "
    "working write_text",
    "cli.photos": "Picture open_pictures",
    "cli.shell": "ScopeGroup examples numbers split_commas",
    "cli.state": "CACHE_DIR State state_of",
    "clips": "is_clip",
    "drawing.text": "percent",
    "errors": "did_you_mean listed",
    "pruning.labels": "label_of",
    "pruning.spec_reader": "explain read_spec read_spec_text",
    "pruning.spec_schema": "json_schema",
    "registry.entries": "Check Command Finding",
    "registry.targets": "import_target",
    "structures.receipt": "THETAS",
}

if not TYPE_CHECKING:  # type checkers read the imports above, and report unknown names
    __getattr__, __dir__, __all__ = lazy(__name__, _HOMES)
