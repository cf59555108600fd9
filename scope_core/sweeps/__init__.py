"""Sweeps over specs, budgets and options."""
