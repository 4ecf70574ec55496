"""Files that hold tensors, read without running anything."""
