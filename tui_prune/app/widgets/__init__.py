"""The parts of the main screen; each shows what it is given and posts what was done to it."""
