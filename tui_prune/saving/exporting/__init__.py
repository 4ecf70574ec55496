"""Exports: a pruned checkpoint as a file for other runtimes, compared with its network before it is called done.

`formats` has one entry for each form, `shapes` finds which sizes of the inputs may vary, and `export` writes and
compares.
"""
