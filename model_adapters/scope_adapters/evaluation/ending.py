"""Ending a run for good: lmms-eval prints most exceptions, scores an empty answer, and exits with 0."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class EvaluationStopped(SystemExit):
    """An evaluation that must not go on: the process ends with exit status 1 and the message on stderr.

    A `SystemExit`, since lmms-eval catches every `Exception`: around ``generate`` it scores an empty answer, at the top
    of its command line it prints the traceback and exits with 0.
    """


@contextmanager
def stopping(doing: str) -> Iterator[None]:
    """Whatever is raised inside ends the run.

    Args:
        doing: What is going on, for the message.

    Raises:
        EvaluationStopped: in place of any exception, which is its cause.
    """
    try:
        yield
    except Exception as error:
        text = str(error) or repr(error)
        raise EvaluationStopped(f"scope_llava_hf, {doing}: {type(error).__name__}: {text}") from error
