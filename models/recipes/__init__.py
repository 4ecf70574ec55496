"""Recipes for known strategies, one TOML file each, called by the network that they are for."""
