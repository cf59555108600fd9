"""The shell of all commands: groups that turn errors into messages and exit codes, and small helpers."""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from scope_core.cli.advice import not_installed
from scope_core.cli.output import complain, warn
from scope_core.cli.state import State
from scope_core.errors import ScopeError, ZooError, did_you_mean, listed
from scope_core.notes import notes_beside
from scope_core.registry.kinds import HOME

if TYPE_CHECKING:
    from scope_core.registry.records import Record


class Code(IntEnum):
    """Exit codes, explained in the package's docstring and in ``scope --help``."""

    OK = 0
    CHECK = 1
    USAGE = 2
    SCOPE = 3
    FILES = 4
    BUG = 70
    INTERRUPT = 130
    TERMINATED = 143


PLUGINS = "Commands of plugins"
"""The panel of ``--help`` for commands of plugins."""

HOISTED = {"--plugin": 1, "--debug": 0}
"""Options of the whole program that may also come after a command, with the number of their values."""


class ScopeGroup(TyperGroup):
    """A group of commands: misspelt ones get a suggestion."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that ``args`` begin with."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            ctx.fail(f"no command is called '{args[0]}'{did_you_mean(args[0], known)}. Commands: {listed(known)}")
        return super().resolve_command(ctx, args)


def plain_flags(command: Any) -> Any:
    """``command``, whose ``--help`` shows flags without a type; those of commands below it too."""
    for inner in getattr(command, "commands", {}).values():
        plain_flags(inner)
    params_of = type(command).get_params

    def get_params(ctx: Any) -> list[Any]:
        params: list[Any] = params_of(command, ctx)
        for param in params:
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""  # else typer prints <bool>
        return params

    command.get_params = get_params
    return command


class MainGroup(ScopeGroup):
    """The whole program; errors become short messages and exit codes, never tracebacks."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The remaining arguments; options of the whole program may come anywhere."""
        front, rest = hoisted(list(args))
        plain_flags(self)
        return super().parse_args(ctx, front + rest)

    def list_commands(self, ctx: Any) -> list[str]:
        """Commands in the order they were added, then those of plugins."""
        try:
            added = [record.name for record in _state(ctx).registry.records("command")]
        except ScopeError as error:  # --help has to work with a broken plugin
            complain(str(error))
            added = []
        return [*self.commands, *(name for name in added if name not in self.commands)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command of core, or a stub for ``--help`` of a plugin's, which is imported only to run."""
        registry = _state(ctx).registry if cmd_name not in self.commands else None
        if registry is None or not registry.has("command", cmd_name):
            return super().get_command(ctx, cmd_name)
        record = registry.get("command", cmd_name)
        panel = None if record.origin.distribution == HOME else PLUGINS
        return TyperCommand(cmd_name, short_help=record.item.summary, rich_help_panel=panel, rich_markup_mode="rich")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that ``args`` begin with."""
        name = args[0] if args else ""
        if name in self.commands:  # without loading plugins
            return name, self.commands[name], args[1:]
        if _state(ctx).registry.has("command", name):
            return name, plain_flags(plugin_command(_state(ctx).registry.get("command", name))), args[1:]
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        debug = _state(ctx).debug
        try:
            with _terminable(), warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except _Terminated:
            complain("terminated")
            raise typer.Exit(Code.TERMINATED) from None
        except KeyboardInterrupt:
            complain("interrupted")
            raise typer.Exit(Code.INTERRUPT) from None
        except ScopeError as error:
            _report(str(error), debug)
            raise typer.Exit(Code.FILES if isinstance(error, ZooError) else Code.SCOPE) from error
        except Exception as error:
            if hasattr(error, "exit_code"):  # typer's own, shown by typer
                raise
            if missing := not_installed(error):
                _report(missing, debug)
                raise typer.Exit(Code.SCOPE) from error
            if trouble := of_the_machine(error):
                _report(trouble, debug)
                raise typer.Exit(Code.FILES) from error
            _report(
                f"unexpected {type(error).__name__}: {error}{_notes(error)}. This is a bug in scope-core or in a "
                f"plugin; run again with --debug for the traceback",
                debug,
            )
            raise typer.Exit(Code.BUG) from error


class _Terminated(KeyboardInterrupt):
    """The process was asked to end, by SIGTERM."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM inside ends a command as Ctrl-C does, so that what it started and wrote for itself is removed."""
    if threading.current_thread() is not threading.main_thread():  # no other may set handlers
        yield
        return

    def end(number: int, frame: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def plugin_command(record: Record) -> Any:
    """The imported command of a plugin, to run or document it.

    Raises:
        ScopeError: it cannot be imported.
    """
    item = record.item
    function = item.load(f"command '{item.name}' ({record.origin})")
    if isinstance(function, typer.Typer):
        return typer.main.get_command(function)
    alone = typer.Typer(rich_markup_mode="rich", add_completion=False, pretty_exceptions_enable=False)
    alone.command(item.name, epilog=examples(*item.examples) if item.examples else None)(function)
    return typer.main.get_command(alone)


def of_the_machine(error: Exception) -> str:
    """The message of an error that a full disk, a read-only folder or missing permissions cause; else empty."""
    names = ("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EIO", "EMFILE", "ENFILE", "ENAMETOOLONG")
    if not isinstance(error, OSError) or error.errno not in {getattr(errno, name, None) for name in names} - {None}:
        return ""
    what = f"'{error.filename}'" if error.filename else "a file or the output"
    return f"{what} cannot be read or written: {error.strerror}"


def _state(ctx: Any) -> State:
    """The state of this run; created here, since commands are looked up before the program's callback is called."""
    if ctx.obj is None:
        ctx.obj = State(tuple(ctx.params.get("plugin") or ()), bool(ctx.params.get("debug")))
    state: State = ctx.obj
    return state


def hoisted(args: list[str]) -> tuple[list[str], list[str]]:
    """``args`` split into the options of the whole program and everything else, both in order."""
    front: list[str] = []
    rest: list[str] = []
    while args:
        word = args.pop(0)
        name, equals, _ = word.partition("=")
        if word == "--":
            return front, [*rest, word, *args]
        if name not in HOISTED:
            rest.append(word)
        else:
            values = 0 if equals else HOISTED[name]
            front += [word, *args[:values]]
            del args[:values]
    return front, rest


def _report(message: str, debug: bool) -> None:
    if debug:
        sys.stderr.write(traceback.format_exc())
    complain(message)


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    warn(str(message))


def split_commas(values: list[str] | None) -> list[str]:
    """``["a,b", "c"]`` as ``["a", "b", "c"]``: lists are typed with commas or by repeating the option."""
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def examples(*lines: str) -> str:
    """An epilog with one example per line."""
    return "\n".join(["[bold]Examples[/bold]", *(f"  [cyan]$[/cyan] {line}" for line in lines)])


def _notes(error: Exception) -> str:
    """The notes on an error, such as the part that it came from."""
    return "".join(f" ({note})" for note in notes_beside(error))


def only_spec(given: str | None, option: str | None) -> str:
    """The spec of a command that takes it with or without ``--spec``.

    Raises:
        typer.BadParameter: no spec is given, or two are.
    """
    if given is not None and option is not None:
        raise typer.BadParameter(f"'{given}' is given as well; give one spec", param_hint="'--spec'")
    spec = option if given is None else given
    if spec is None:
        raise typer.BadParameter("give a spec, e.g. scope@64; `scope list recipe` lists recipes", param_hint="'SPEC'")
    return spec


def numbers(given: list[str] | None, option: str, default: tuple[int, ...]) -> list[int]:
    """Token counts in increasing order, without duplicates."""
    values = split_commas(given)
    for text in values:
        if not text.isdecimal() or int(text) < 1:
            raise typer.BadParameter(f"'{text}' is not a token count; give e.g. 576,64", param_hint=f"'{option}'")
    return sorted(set(map(int, values))) or list(default)
