"""Measuring what pruning costs and saves: everything side by side in one process, ratios of medians, spread, machine.

Sections: `select` (picks from bare tensors, beside a reference, a plain loop and other libraries), `growth` (the
same over sizes), `capture` (signals read while the tower runs) and `generate` (time to the first token). Nothing
here knows a model or a part; times are never compared with a bound, only reported.
"""
