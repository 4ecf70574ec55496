"""Copies of networks, to be run in the place of the user's own or to be cut.

Hooks, closures and bound methods of a copy are its own (`copier`), and what a network's code writes elsewhere is put
back (`outside`). So the network that the user gave is never run. What can't be copied is refused by name.
"""
