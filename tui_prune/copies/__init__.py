"""Copies of networks that are their own: to be run in the place of the user's, or to be cut."""
