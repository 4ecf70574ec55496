"""What a user has chosen for one network, and what was found out about it.

`session.Session` is what the app, the command line and the Python functions run. `steps` are its history, `shelf` its
plans side by side, `task_work` what needs the task, `recoveries` recovered networks. `autosave/` keeps choices and
weights across a dropped line, `looking/` gathers the numbers that pictures are made of.
"""
