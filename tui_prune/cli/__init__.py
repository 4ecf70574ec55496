"""The command line: `cut` writes and checks checkpoints, `measure` takes the clock, `show` looks, `output` exports.

Options for the fields of a recipe come from `planning.fields`. A command decides nothing that the session could.
"""
