"""Accuracy after a cut: layers refitted in closed form, batch-norm statistics estimated anew, fine-tuning.

`recover` runs these one after the other and keeps what the task doesn't call worse. `reconstruct` needs unlabelled
inputs only.
"""
