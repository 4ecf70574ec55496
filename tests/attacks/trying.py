"""What an attack is, and how its tries are counted."""

from __future__ import annotations

import io
import os
import random
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

LONGEST = 60.0
"""Seconds that one try may take; a hang is a success of the attacker's."""
MOST_MEMORY = 1_500_000
"""Kilobytes that the process may grow by in one attack."""
KINDS = ("CONFIG", "CACHE", "STATE", "DATA")

Try = tuple[str, Callable[[], None]]
"""What is tried, in a word, and the try itself: it raises where the attack succeeds."""


@dataclass(frozen=True)
class Attack:
    """A way to do harm."""

    name: str
    promise: str
    """What holds, in a line."""
    count: int
    """Tries of a whole run."""
    tries: Callable[[random.Random, Path], Iterator[Try]]
    """Tries without end, the same ones for the same seed; in a folder of its own."""


@dataclass
class Tally:
    """How an attack went."""

    attack: Attack
    tried: int = 0
    held: int = 0
    broken: list[str] = field(default_factory=list)
    """The tries that succeeded, with what happened."""


ATTACKS: dict[str, Attack] = {}


def attack(
    name: str, promise: str, count: int
) -> Callable[[Callable[[random.Random, Path], Iterator[Try]]], Callable[[random.Random, Path], Iterator[Try]]]:
    """Let a generator of tries be one of the attacks."""

    def register(
        tries: Callable[[random.Random, Path], Iterator[Try]],
    ) -> Callable[[random.Random, Path], Iterator[Try]]:
        assert name not in ATTACKS
        ATTACKS[name] = Attack(name, promise, count, tries)
        return tries

    return register


class TookTooLong(BaseException):
    """A try that doesn't end."""


def carry_out(attack: Attack, seed: int, count: int) -> Tally:
    """Make so many tries, away from the user's own files."""
    tally = Tally(attack)
    with _away() as folder:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number, (label, action) in enumerate(attack.tries(random.Random(f"{attack.name} {seed}"), folder)):
            if number >= count:
                break
            tally.tried += 1
            failure = _failure(action)
            if failure is None:
                tally.held += 1
            else:
                tally.broken.append(f"try {number} ({label}): {failure}")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if grown > MOST_MEMORY:
            tally.broken.append(f"the process grew by {grown // 1000} MB")
    return tally


def _failure(action: Callable[[], None]) -> str | None:
    def too_long(*_: object) -> None:
        raise TookTooLong

    streams, state = (sys.stdin, sys.stdout, sys.stderr), (torch.is_grad_enabled(), torch.get_default_dtype())
    folder = os.getcwd()
    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        sys.stdout = sys.stderr = io.StringIO()  # the code of attackers prints
        action()
    except TookTooLong:
        return f"still at it after {LONGEST:.0f} s"
    except BaseException as error:
        try:
            return f"{type(error).__name__}: {error}"[:300]
        except BaseException:
            return type(error).__name__
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.stdin, sys.stdout, sys.stderr = streams
        torch.set_grad_enabled(state[0])
        torch.set_default_dtype(state[1])
        os.chdir(folder)
    return None


@contextmanager
def _away() -> Iterator[Path]:
    """A folder of its own, in which the user's settings and state are, too."""
    kept = {name: os.environ.get(name) for name in (*(f"XDG_{kind}_HOME" for kind in KINDS), "COLUMNS", "LINES")}
    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="attacks-", ignore_cleanup_errors=True) as name:
        folder = Path(name) / "here"
        folder.mkdir()
        for kind in KINDS:
            os.environ[f"XDG_{kind}_HOME"] = str(Path(name) / kind.lower())
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)
            for variable, value in kept.items():
                os.environ.pop(variable, None)
                if value is not None:
                    os.environ[variable] = value
