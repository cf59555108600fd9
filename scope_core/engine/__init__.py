"""The mathematics of selecting: grouping, constraints, greedy, merging, and the checks of what parts return."""
