"""vLLM's OpenAI-compatible server, as ``scope serve`` starts it: with an exit status that says why it ended.

Run as a module, with the options of vLLM's server. With ``--headless`` there are workers and no server: the further
machines of a server over several.
"""

from __future__ import annotations

import importlib
import runpy
import sys

from PIL import Image

from scope_adapters.serving import termination
from scope_adapters.serving.address import check_address
from scope_core import ScopeError

LAUNCHER = "vllm.entrypoints.launchers.api_server.entry"
"""The module with the server's ``main``, since vLLM 0.32."""

FORMER = "vllm.entrypoints.openai.api_server"
"""The module to run where there is no `LAUNCHER`. vLLM 0.32 and later warn that it is deprecated."""

CANNOT_LISTEN = 4
"""The exit status if the address cannot be used, as of other commands for files that cannot be."""


def main() -> int:
    """Run the server; the exit status."""
    if "--headless" in sys.argv:
        return _headless()
    try:
        check_address(sys.argv[1:])
    except ScopeError as error:
        sys.stderr.write(f"error: {error}\n")
        return CANNOT_LISTEN
    try:
        with termination.terminable():
            _launch()
    finally:  # a signal while it starts is a SystemExit
        for line in termination.reasons():
            sys.stderr.write(f"scope serve: {line}\n")
    return termination.status()


def _launch() -> None:
    try:
        launch = importlib.import_module(LAUNCHER).main
    except (ImportError, AttributeError):
        runpy.run_module(FORMER, run_name="__main__", alter_sys=True)
    else:
        leave_size_limit_to_vllm()
        launch()


def leave_size_limit_to_vllm() -> None:
    """Let vLLM's own limit of pixels refuse decompression bombs: with status 400, where Pillow's gives status 500."""
    if hasattr(importlib.import_module("vllm.envs"), "VLLM_MAX_IMAGE_PIXELS"):
        Image.MAX_IMAGE_PIXELS = None


def _headless() -> int:
    """Run workers for the server of another machine, as ``vllm serve`` does; the server's own ``main`` ignores this."""
    serve = importlib.import_module("vllm.entrypoints.cli.serve").ServeSubcommand
    options = importlib.import_module("vllm.entrypoints.launchers.cli_args")
    parser = importlib.import_module("vllm.utils.argparse_utils").FlexibleArgumentParser()
    args = options.make_arg_parser(parser).parse_args()
    options.validate_parsed_serve_args(args)
    serve.cmd(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
