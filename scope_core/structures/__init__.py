"""Data structures: tokens, signals, layouts, selections, receipts. They know nothing of parts."""
