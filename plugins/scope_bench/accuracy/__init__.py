"""Measuring pruners on a task: accuracy against budget, with controls, bounds and intervals.

    from scope_bench.accuracy.runner import Bench

One image is encoded once; then every pruner selects from it, and all questions about it are asked. Nothing here knows
a model, a task or a part: all of them come from the registry.
"""
