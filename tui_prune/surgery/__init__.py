"""A plan becomes a new module that is proved equal to the masked original.

`cut` builds the module with cut tensors and sizes. `replay` traces it again and compares it, call by call
(`correspondence`), with the original's trace. `verify` compares its numbers with those of the original whose cut
channels are masked, a second time with weights under which a wrong wiring shows (`telling`). Where a cut doesn't fit,
`fit` finds out what must stay: it looks for sizes that the model's code keeps (`sizes`, `size_search`,
`unread_sizes`), and locks a group only where nothing else helps.
"""
