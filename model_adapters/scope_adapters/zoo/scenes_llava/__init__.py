"""The zoo's ``scenes-llava``: its weights, configuration, tokenizer and card (README.md), and its loader."""
