"""Stopping code of the user's, which knows nothing of being stopped."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn


class _Forced(BaseException):
    """Ends code that goes on after the error that was to end it; an `except Exception` doesn't catch it."""


class _Hook:
    """A forward pre-hook that asks whether to go on, in the thread that made it.

    A copy of the network shares it: what is behind it (a whole app, maybe) is no part of the network.
    """

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask, self._thread = ask, threading.get_ident()

    def __call__(self, *_: object) -> None:
        if threading.get_ident() == self._thread:
            self._ask()

    def __deepcopy__(self, memo: object) -> "_Hook":
        return self

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return _for_another_process, ()


def _for_another_process() -> Callable[..., object]:
    """What a hook is there: it asks nobody."""
    return _ask_nobody


def _ask_nobody(*_: object) -> None:
    pass


class Breaker:
    """Ends a run of the user's code. The error that is to end it reaches that code as it is, once; where the code goes
    on all the same, the next step ends it for good."""

    def __init__(self) -> None:
        self.reason: Exception | None = None
        """What is to end it."""
        self._over = False

    def step(self, ask: Callable[[], object]) -> None:
        """To be called from within the user's code: what `ask` raises ends it."""
        if self._over:
            return
        if self.reason is not None:
            raise _Forced
        try:
            ask()
        except Exception as reason:
            self.reason = reason
            raise

    @contextmanager
    def breaking(self, model: nn.Module, ask: Callable[[], object]) -> Iterator[None]:
        """Run the user's code, with a step before each forward pass of the model or of one of its parts.

        What else runs on the same model, in another thread, isn't asked.

        Raises what has ended it, whatever the user's code made of that.
        """
        asked = _Hook(lambda: self.step(ask))
        hooks = [part.register_forward_pre_hook(asked) for part in dict.fromkeys((model, *model.children()))]
        try:
            yield
        except BaseException:
            if self.reason is not None:
                raise self.reason from self.reason.__cause__
            raise
        finally:
            self._over = True  # a copy of the model may have kept the hooks
            for hook in hooks:
                hook.remove()
        if self.reason is not None:
            raise self.reason
