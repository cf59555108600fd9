"""Requests to the Hugging Face hub, without waiting if the hub cannot be reached."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

RETRIES = "huggingface_hub.utils._http"
"""The logger of connection attempts."""


@contextlib.contextmanager
def requests_to(source: str) -> Iterator[dict[str, Any]]:
    """Options for ``from_pretrained``; inside, log lines about connection attempts are suppressed.

    If the hub's host name does not resolve, only the cache is read: the library would try six times for every file,
    which takes half a minute each.

    Args:
        source: A hub id, or a folder.
    """
    logger = logging.getLogger(RETRIES)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield {} if Path(source).is_dir() or resolves() else {"local_files_only": True}
    finally:
        logger.setLevel(before)


def resolves() -> bool:
    """True if the hub's host name resolves, or behind a proxy."""
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE or {"all", address.scheme} & set(getproxies()):
        return True
    try:
        socket.getaddrinfo(address.hostname, address.port or 443)
    except OSError:
        return False
    return True
