"""The network before and after, beside each other: as PyTorch prints both, and as tables that can be kept."""
