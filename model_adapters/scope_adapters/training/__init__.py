"""How the zoo's small LLaVA is trained: ``python -m scope_adapters.training --help``.

Stages, each a module or a function: render the scenes and keep the tower's features (`features`), align the projector
with the class words, learn to look things up in few tokens, then in any number of them (`stages`), and write the model
(`export`). docs/scenes-llava.md says what came out.
"""
