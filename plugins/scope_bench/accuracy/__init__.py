"""Accuracy of methods on a task at several budgets, with controls, bounds and intervals.

Each image is encoded once; then every method selects from its tokens and answers all questions about it. Models, tasks
and parts come from the registry. `runner.run` is the benchmark, `report.results_of` its result.
"""
