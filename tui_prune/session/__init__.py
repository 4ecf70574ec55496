"""What a user has chosen for one network, and what was found out about it.

`session.Session` is what the app, the command line and the Python functions run. All that it knows is one frozen
`state.State`: `steps` has the choices, `networks` the traced graphs, `plans` makes plans, `evaluation` asks the task,
`recoveries` holds recovered networks, `shelf` named plans and what was measured. `work` and `searching` are what takes
long: they begin with a state, may run in any thread, and hand out outcomes, each with the plan that it belongs to.
`autosave/` keeps choices and weights across a dropped line, `looking/` gathers the numbers that pictures are made of.
"""
