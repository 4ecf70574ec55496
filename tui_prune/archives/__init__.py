"""Files that hold tensors, read without running anything that is in them.

`archive` reads torch's files and safetensors, `pruned_file` the format of a pruned checkpoint. Nothing here builds a
network.
"""
