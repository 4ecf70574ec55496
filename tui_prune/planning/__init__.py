"""A recipe becomes a plan: for each group, which channels stay.

`fields` has one entry for each field of a `Recipe`, `criteria/` a file for each criterion, `widths` the alignment,
`targets` the search for the largest network within a target. A plan takes milliseconds and never touches the model.
"""
