"""A network from the user's own Python file: "net.py:make"."""

import difflib
import hashlib
import importlib.util
import itertools
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from tui_prune import paths
from tui_prune.errors import Remedy, TuiPruneError, UsageError, ordinary_errors
from tui_prune.loading.sources.factory_names import factory_names

_loads = itertools.count()


def is_factory_spec(spec: str) -> bool:
    """Whether `spec` names a Python file, with or without a factory."""
    return spec.endswith(".py") or ".py:" in spec


def split_factory_spec(spec: str) -> tuple[Path, str]:
    """The absolute file and the factory of "net.py:make". Raises `UsageError` when one of the two is missing."""
    if spec.endswith(".py"):
        name, factory = spec, ""
    else:
        name, _, factory = spec.rpartition(":")
    file = paths.absolute(name)
    if not paths.is_file(file):
        raise UsageError(paths.not_a_file(file, name), remedies=[Remedy.OTHER])
    if not factory:
        offered = _callables(file)
        example = f"{name}:{offered[0]}" if offered else f"{name}:make"
        raise UsageError(
            f"Say which function or class of {file.name} makes the network, as in {example}.", remedies=[Remedy.OTHER]
        )
    return file.resolve(), factory


def load_factory(spec: str) -> Callable[[], nn.Module]:
    """The function that makes a network, from "net.py:make".

    The factory may also be a class, or a module that is there already. It is called without arguments.

    Raises `UsageError` when there is no such file or factory; `TuiPruneError` when the user's own code fails, at
    import or in the call, with its exception and line.
    """
    file, name = split_factory_spec(spec)
    imported = import_file(file)
    try:
        with own_errors(file, f"while {name} was looked up", passing=(AttributeError,)):
            factory = getattr(imported, name)
    except AttributeError:
        close = difflib.get_close_matches(name, _callables(file))
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise UsageError(f"{file.name} has no {name!r}.{hint}", remedies=[Remedy.OTHER]) from None
    return lambda: _make(file, name, factory)


def _make(file: Path, name: str, factory: Any) -> nn.Module:
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise UsageError(f"{name} in {file.name} is no function or class that makes a network.")
    with own_errors(file, f"while {name}() made the network"), _folder_on_path(file):
        network = factory()
    if not isinstance(network, nn.Module):
        raise UsageError(f"{name}() in {file.name} returns a {type(network).__name__}, not a torch.nn.Module.")
    return network


def import_file(file: Path) -> ModuleType:
    """Run a Python file as a module of a name of its own. Raises `TuiPruneError` when its code fails."""
    digest = hashlib.sha256(str(file).encode()).hexdigest()[:8]
    unique = f"tui_prune_user_{file.stem}_{digest}_{next(_loads)}"
    spec = importlib.util.spec_from_file_location(unique, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} can't be imported as Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        with own_errors(file, "while the file was imported"), _folder_on_path(file):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique]
        raise
    return module


@contextmanager
def _folder_on_path(file: Path) -> Iterator[None]:
    folder = str(file.parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


@contextmanager
def own_errors(file: Path, when: str, passing: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """Give errors of the user's own code as a `TuiPruneError` with their line; `passing` ones as they are."""
    try:
        with ordinary_errors():
            yield
    except passing:
        raise
    except Exception as error:
        raise TuiPruneError(f"{_place(error, file)}: {_in_words(error)}, {when}.", remedies=[Remedy.AGAIN]) from error


def _place(error: BaseException, file: Path) -> str:
    """The innermost line of the user's file that the error passed through."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{file.name}, line {lines[-1]}" if lines else file.name


def _in_words(error: BaseException) -> str:
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {message}".rstrip(": .").replace("\n", " ")


def _callables(file: Path) -> list[str]:
    """The names that the file offers; none where it can't be read."""
    try:
        return [factory.name for factory in factory_names(file)]
    except TuiPruneError:
        return []
