"""What a Python file offers to make a network with, read without running it; torch isn't needed either."""

import ast
from pathlib import Path
from typing import NamedTuple

from tui_prune.errors import Remedy, TuiPruneError


class FactoryName(NamedTuple):
    """A function or a class at the top of a file that can be called without arguments."""

    name: str
    kind: str
    """"function" or "class"."""
    line: int
    about: str
    """The first line of its docstring; empty where it has none."""


def factory_names(file: Path) -> list[FactoryName]:
    """Functions without required arguments, then classes. Raises `TuiPruneError` when the file can't be read."""
    try:
        body = ast.parse(file.read_text(encoding="utf-8")).body
    except OSError as error:
        raise TuiPruneError(
            f"{file.name} can't be read: {error.strerror}.", remedies=[Remedy.AGAIN, Remedy.OTHER]
        ) from error
    except SyntaxError as error:
        raise TuiPruneError(f"{file.name}, line {error.lineno}: {error.msg}.", remedies=[Remedy.AGAIN]) from error
    except (ValueError, RecursionError) as error:
        raise TuiPruneError(f"{file.name} is no Python file.") from error
    functions = [node for node in body if isinstance(node, ast.FunctionDef) and not _required(node)]
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    return [_described(node, "function") for node in functions] + [_described(node, "class") for node in classes]


def _described(node: ast.FunctionDef | ast.ClassDef, kind: str) -> FactoryName:
    about = (ast.get_docstring(node) or "").partition("\n")[0]
    return FactoryName(node.name, kind, node.lineno, about)


def _required(function: ast.FunctionDef) -> bool:
    arguments = function.args
    without_default = len(arguments.posonlyargs) + len(arguments.args) > len(arguments.defaults)
    return without_default or None in arguments.kw_defaults
