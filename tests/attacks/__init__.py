"""Attacks on files, tasks and terminals: `python -m tests.attacks`, or a sample of each by `pytest -m attacks`."""

import importlib

MODULES = ("checkpoints", "archives", "state", "user_code", "saving", "terminals")


def all_attacks() -> None:
    """Import the modules that register attacks."""
    for name in MODULES:
        importlib.import_module(f"tests.attacks.{name}")
