"""What is kept on disk: whole or not at all, found again only where it fits, and never too much of it."""

from __future__ import annotations

import errno
import json
import os
import sys
import types
import warnings
from pathlib import Path

import pytest
import torch
from adapters import models

import scope_core as scope
from scope_bench.accuracy import cache
from scope_bench.accuracy.cache import Journal, TensorCache, code_of, weights_of


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    tensor = torch.randn(3, 5).to(torch.bfloat16)
    TensorCache(tmp_path).put("ab", tensor)
    found = TensorCache(tmp_path).get("ab")
    assert found.dtype == tensor.dtype
    assert torch.equal(found, tensor)
    assert TensorCache(tmp_path).get("cd") is None
    assert [file.name for file in tmp_path.iterdir()] == ["ab.pt"]


def test_without_a_folder_memory_alone() -> None:
    cache = TensorCache(None, memory=100)
    cache.put("a", torch.zeros(20))
    cache.put("b", torch.ones(20))  # 80 bytes each: the first has to go
    assert cache.get("a") is None
    assert torch.equal(cache.get("b"), torch.ones(20))


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_file_counts_as_missing(tmp_path: Path, damage: bytes | None) -> None:
    TensorCache(tmp_path).put("ab", torch.randn(100))
    path = tmp_path / "ab.pt"
    path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)
    cache = TensorCache(tmp_path)
    assert cache.get("ab") is None
    cache.put("ab", torch.ones(2))
    assert torch.equal(TensorCache(tmp_path).get("ab"), torch.ones(2))


def test_what_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path, limit=20_000, memory=1)
    for key in "abc":
        cache.put(key, torch.zeros(1000))  # about 5 kB on disk
    for age, key in enumerate("bac"):
        os.utime(tmp_path / f"{key}.pt", (age, age))
    cache.put("d", torch.zeros(1000))
    cache.put("e", torch.zeros(1000))
    left = {file.stem for file in tmp_path.iterdir()}
    assert "b" not in left
    assert {"d", "e"} <= left
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 20_000


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


UNUSABLE = "cannot be read or written: .*choose another folder with --cache-dir, or use --no-cache"


@pytest.mark.parametrize("trouble", ["a file in the way", "full", "full in torch"])
def test_a_folder_that_cannot_be_used_is_told_once_and_done_without(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    if trouble == "a file in the way":
        folder.write_text("in the way")
    elif trouble == "full":
        monkeypatch.setattr(cache.torch, "save", full)
        monkeypatch.setattr(cache.Path, "open", full)
    else:
        monkeypatch.setattr(cache.torch, "save", lambda *_: (_ for _ in ()).throw(RuntimeError("failed writing file")))
        monkeypatch.setattr(cache.Path, "open", full)
    kept, journals = TensorCache(folder / "features"), [Journal(folder / "bench" / f"{n}.jsonl") for n in range(2)]

    def use() -> None:
        kept.put("a", torch.ones(1))
        for journal in journals:
            journal.add(row("one"))

    with pytest.warns(UserWarning, match=UNUSABLE) as warned:
        use()
    assert len(warned) == 1
    assert f"'{folder}'" in str(warned[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept.put("b", torch.zeros(1))
        journals[0].add(row("two"))
    assert (kept.get("a"), kept.get("b")) == (torch.ones(1), torch.zeros(1))
    assert list(journals[0].rows) == ["one", "two"]
    assert not [file for file in folder.rglob("*") if file.is_file()]


def test_a_journal_that_cannot_be_read_or_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    Journal(path).add(row("one"))
    monkeypatch.setattr(cache.Path, "read_bytes", full)
    monkeypatch.setattr(cache.Path, "unlink", full)
    for fresh in (False, True):
        cache._TOLD.clear()
        with pytest.warns(UserWarning, match=UNUSABLE):
            journal = Journal(path, fresh=fresh)
        assert journal.rows == {}
        journal.add(row("two"))
    assert path.read_text().count("\n") == 1


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise scope.ZooError("there is no folder for caches")

    monkeypatch.setattr(cache, "cache_folder", nowhere)
    with pytest.warns(UserWarning, match="no folder for caches. Features and replies are not kept"):
        assert cache.default_folder() is None


def test_files_of_killed_runs_are_removed(tmp_path: Path) -> None:
    old, young = tmp_path / "ab.ptx.part", tmp_path / "cd.pty.part"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    TensorCache(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_another_process_may_delete_files_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = TensorCache(tmp_path, limit=20_000, memory=1), TensorCache(tmp_path, limit=20_000, memory=1)
    for number in range(12):
        one.put(f"a{number}", torch.zeros(1000))
        two.put(f"b{number}", torch.zeros(1000))
    gone = tmp_path / "gone.pt"
    monkeypatch.setattr(cache.Path, "glob", lambda self, pattern: iter([gone]))
    assert one._files() == []


def row(example: str, asked: str = "q") -> dict[str, object]:
    return {"example": example, "asked": asked, "replies": []}


def test_a_journal_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    journal = Journal(path)
    journal.add(row("one"))
    journal.add(row("two"))
    again = Journal(path)
    assert again.get("one", "q") == row("one")
    assert again.get("one", "other questions") is None
    assert again.get("three", "q") is None
    assert Journal(path, fresh=True).rows == {}
    assert not path.exists()


def test_the_latest_row_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for asked in ("old", "new"):
        Journal(path).add(row("one", asked))
    assert Journal(path).get("one", "new") is not None


def test_lines_cut_short_and_other_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = json.dumps(row("one"))
    path.write_text(f'{good}\nnot json\n["no row"]\n{{"example": "two"}}\n{{"example": "thr', encoding="utf-8")
    journal = Journal(path)
    assert list(journal.rows) == ["one"]
    journal.add(row("four"))
    assert list(Journal(path).rows) == ["one", "four"]


def test_weights_tell_models_apart() -> None:
    first = weights_of(models.llava(seed=0))
    assert weights_of(models.llava(seed=0)) == first
    assert weights_of(models.llava(seed=1)) != first
    changed = models.llava(seed=0)
    changed.base_model.multi_modal_projector.linear_1.bias.data[3] += 1e-3
    assert weights_of(changed) != first


def test_changed_code_is_noticed(tmp_path: Path) -> None:
    """A single file is read by itself; a module of a package with those beside it."""
    path = tmp_path / "acme_alone.py"
    path.write_text("class Part: ...")
    (tmp_path / "beside.py").write_text("1")
    module = types.ModuleType("acme_alone")
    module.__file__, module.__package__ = str(path), ""
    exec(path.read_text(), module.__dict__)
    sys.modules["acme_alone"] = module
    try:
        part = module.Part()
        first = code_of([part])
        (tmp_path / "beside.py").write_text("2")
        assert code_of([part]) == first
        path.write_text("class Part: 'changed'")
        assert code_of([part]) != first
        module.__package__ = "acme"
        second = code_of([part])
        (tmp_path / "beside.py").write_text("3")
        assert code_of([part]) != second
    finally:
        del sys.modules["acme_alone"]
