"""Where a model comes from: a name, a factory in a file, a weights file or a pruned checkpoint."""
