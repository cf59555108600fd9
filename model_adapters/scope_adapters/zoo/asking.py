"""Asking the Hugging Face hub without waiting for one that is not there."""

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
"""The logger that tells of every attempt."""


@contextlib.contextmanager
def asking(source: str) -> Iterator[dict[str, Any]]:
    """Options for ``from_pretrained``; inside, the library's lines about every attempt at a connection are silent.

    Where the hub's name means nothing on this machine only its cache is asked, at once: the library would try six times
    for every file first, which takes half a minute each.

    Args:
        source: A hub id, or a folder.
    """
    logger = logging.getLogger(RETRIES)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield {} if Path(source).is_dir() or known() else {"local_files_only": True}
    finally:
        logger.setLevel(before)


def known() -> bool:
    """Whether the hub's name resolves; where a proxy asks for us, that is taken to be so."""
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE or {"all", address.scheme} & set(getproxies()):
        return True
    try:
        socket.getaddrinfo(address.hostname, address.port or 443)
    except OSError:
        return False
    return True
