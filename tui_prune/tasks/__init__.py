"""What a network is for: evaluating it, data to calibrate by, training it.

`task` has the protocol, as a user's file or a built-in task offers it, and `evidence` what stands behind a score.
Built-in tasks need no code; they are named by where their data are. `spec` reads such a name, `registry` knows the
tasks. `preprocessing` says what is done to a picture, by the model's own source; `decoding` does it, in processes of
its own; `pictures` keeps what came out. `judging` compares outputs with labels, or with those of the uncut network, and
`building` makes a `Task` of all that.

To add a built-in task: a file with `OPTIONS` and `task(spec, choices) -> Task`, and its line in `registry.BUILT_IN`.
"""
