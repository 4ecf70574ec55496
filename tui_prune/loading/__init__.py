"""From what a user names to a module with an example input.

`open_model` is the entrance. `sources/` has a file for each kind of name, `recognise` tells a network from the names
and shapes of its weights, `guess_input` finds an input that its forward pass takes.
"""
