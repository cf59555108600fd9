"""Time that pruning costs and saves, measured in one process: ratios of medians, their spread, and the machine.

Sections: `select` (selection from tensors, compared with a reference, a plain loop and other libraries), `growth` (the
same over sizes), `capture` (signals read while the tower runs) and `generate` (time to the first token). Models and
parts come from the registry. Times are only reported, never compared with a limit.
"""
