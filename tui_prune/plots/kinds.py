"""The kinds of pictures, by the names that the command line gives them."""

KINDS = {
    "hist": "its weights as a histogram",
    "scores": "its channels ranked, with the cut",
    "scales": "batch norm scales, with those that go",
    "heat": "its weights as a picture",
    "surface": "the sizes of its weights in 3D",
    "activations": "what it puts out for the task's calibration data",
    "costs": "MACs and parameters of all layers",
    "errors": "what the cut got wrong in each layer, and what is left of it once the layers are refitted",
}
"""What a picture shows of a layer, in the order that the app has them in."""
NETWORK = ("scales", "costs", "errors")
"""The kinds that speak of a module, or of the whole network, as well."""

NAMES = {
    "hist": "weights",
    "scores": "scores",
    "scales": "scales",
    "heat": "heat",
    "surface": "3D",
    "activations": "activations",
    "costs": "costs",
    "errors": "errors",
}
"""What a line of the drawings calls each of them."""
