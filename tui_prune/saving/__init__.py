"""The pruned checkpoint: written whole or not at all, read without pickle, checked as a stranger would load it."""
