"""The zoo's ``scenes-llava``: its weights, config, tokenizer and model card (README.md), and its loader."""
