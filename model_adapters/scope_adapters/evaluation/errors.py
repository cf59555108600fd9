"""Errors that end an evaluation: lmms-eval catches most others, scores an empty answer, and exits with 0."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class EvaluationStopped(SystemExit):
    """An evaluation that must stop: the process ends with exit status 1 and the message on stderr.

    A `SystemExit`, since lmms-eval catches every `Exception`: around ``generate`` it scores an empty answer, at the top
    of its command line it prints the traceback and exits with 0.
    """


@contextmanager
def stopping(doing: str) -> Iterator[None]:
    """Turn any exception inside into one that ends the run.

    Args:
        doing: The current step, for the message.

    Raises:
        EvaluationStopped: caused by the exception.
    """
    try:
        yield
    except Exception as error:
        text = str(error) or repr(error)
        raise EvaluationStopped(f"scope-core, {doing}: {type(error).__name__}: {text}") from error
