"""``scope bench serve`` on a tiny checkpoint: two engines in turns, vLLM's own client, counters of both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
from servers import SETTINGS


def test_two_engines_in_turns(llava: Path, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("scope")), "bench", "serve", str(llava), "--spec", "scope@64"]
    command += ["--concurrency", "1,2", "--requests", "3", "--sizes", "336x336,120x90", "--prompt", "8-32"]
    command += ["--answer", "6", "--json", "--", "--enforce-eager", "--dtype", "float32", "--max-model-len", "2048"]
    given = {**os.environ, **SETTINGS, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=given, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads(done.stdout)
    rows = facts["rows"]
    assert [(row["clients"], row["engine"]) for row in rows] == [(n, e) for n in (1, 2) for e in ("all", "scope@64")]
    for row in rows:
        assert row["requests_per_s"] > 0
        assert 0 < row["ttft_ms_median"] <= row["ttft_ms_p95"]
        assert 0 <= row["selection_s"] < row["encoder_s"] < row["wall_s"]
        assert row["images"] >= 3  # and those that warm up
        assert row["tokens_in"] == 576 * row["images"]
        assert row["tokens_kept"] == (576 if row["engine"] == "all" else 64) * row["images"]
    assert len(facts["verdict"]) == 2
    assert "differences may be chance" in done.stderr
    assert not list(tmp_path.glob("tmp*"))
    left = [one for one in psutil.process_iter(["cmdline"]) if str(llava) in " ".join(one.info["cmdline"] or [])]
    assert not left
