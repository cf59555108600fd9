"""The address of a server, tried before anything is loaded: vLLM takes it only after half a minute of imports."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from pathlib import Path

from scope_adapters.serving.options import given
from scope_core import ZooError

PORT = 8000
"""vLLM's port unless ``--port`` is given."""


def check_address(options: Sequence[str]) -> None:
    """Refuse an address that cannot be used.

    Args:
        options: Options of vLLM. Further machines (``--headless``) have no address, and one in a file (``--config``) is
            left to vLLM.

    Raises:
        ZooError: names the address and the reason.
    """
    port, host, path = (given(options, name) for name in ("--port", "--host", "--uds"))
    if given(options, "--headless") is not None:
        return
    if path is not None:
        if Path(path).exists():
            raise ZooError(f"--uds {path}: the file exists; remove it if no server listens there, or give another one")
        return
    if port is None and given(options, "--config") is not None:
        return
    if port is not None and not port.isdecimal():
        raise ZooError(f"--port {port!r} is not a port; give a number, e.g. --port {PORT}")
    _check_port(host or "", PORT if port is None else int(port))


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            where = f"port {port}" + (f" of {host}" if host else "")
            other = "--port" if getattr(error, "errno", None) == errno.EADDRINUSE else "--host or --port"
            raise ZooError(f"{where} cannot be used: {reason}; give another {other} after the two dashes") from error
