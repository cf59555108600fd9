"""The main path, top to bottom: spec, stage, schedule, session, adapter, attachment, pruner."""
