"""The data that flows: tokens, signals, layouts, selections, receipts. Knows no parts."""
