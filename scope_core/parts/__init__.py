"""The parts of a pruner: one abstract class a file."""
