"""The mathematics of selection: grouping, constraints, greedy, merging, and checks of what parts return."""
