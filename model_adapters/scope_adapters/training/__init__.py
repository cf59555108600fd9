"""Training of the zoo's small LLaVA: ``python -m scope_adapters.training --help``.

The steps: render the scenes and store the tower's features (`features`); align the projector with the class words,
learn to look things up in few tokens, then in any number of tokens (`stages`); write the model (`export`). See
docs/scenes-llava.md for the results.
"""
