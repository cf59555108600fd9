"""The host of Hugging Face transformers: one call of a pruned model, from prompt to answer."""
