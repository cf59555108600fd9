"""Benchmarks for pytest-benchmark: ``scripts/install --group benchmarks``, then
``.venv/bin/pytest tests/benchmarks/*.py``.

No test: nothing here is collected by the ordinary suite, and no time is compared with a bound. To compare two commits,
``--benchmark-autosave`` on one and ``--benchmark-compare`` on the other. `scope bench speed` prints ratios instead.
"""
