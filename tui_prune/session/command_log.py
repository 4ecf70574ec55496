"""What was done in a session as a command line, a recipe file and Python: each gives the same checkpoint again."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tui_prune.loading.request import OpenRequest
from tui_prune.loading.sources.bundled import DEFAULT, bundled_task
from tui_prune.loading.sources.factory_file import is_factory_spec
from tui_prune.planning.fields import FIELDS, options
from tui_prune.planning.recipe import Recipe
from tui_prune.recovery.recover import FINE_TUNED, RECALIBRATED, RECONSTRUCTED
from tui_prune.session.remote import absolute

WIDTH = 76
"""Columns of a command that is written in one line."""
IN_A_ROW = (RECONSTRUCTED, RECALIBRATED, FINE_TUNED, RECALIBRATED)
"""The order in which one command recovers; the last step follows fine-tuning by itself."""


@dataclass(frozen=True)
class CommandLog:
    """What was done, in three forms, and what can't be said in them."""

    arguments: tuple[str, ...]
    """Of the command `tui-prune`."""
    toml: str
    """The recipe alone."""
    python: str
    notes: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command line, quoted for a shell; with an option a line where it is long."""
        line = shlex.join(("tui-prune", *self.arguments))
        if len(line) <= WIDTH:
            return line
        lines: list[list[str]] = [["tui-prune"]]
        for word in self.arguments:
            if word.startswith("--") or word == "-o":
                lines.append([])
            lines[-1].append(word)
        return " \\\n    ".join(map(shlex.join, lines))


def command_log(request: OpenRequest, recipe: Recipe, recovered: Sequence[str], output: Path) -> CommandLog:
    """Return the log of a session.

    Args:
        request: What was opened, in the user's words.
        recipe: What is chosen.
        recovered: The steps that have recovered the network, as its report has them.
        output: Where the checkpoint is, or would be, written.
    """
    request = replace(
        request,
        spec=absolute(request.spec) or DEFAULT,
        weights=absolute(request.weights),
        task=absolute(request.task),
        latency_table=absolute(request.latency_table),
    )
    flags = {
        "reconstruct": RECONSTRUCTED in recovered,
        "recalibrate": RECALIBRATED in recovered[: _tuned_at(recovered)],
        "finetune": FINE_TUNED in recovered,
    }
    notes = []
    if recipe == Recipe() and not recovered:
        notes.append("Nothing is chosen yet, so this writes the network as it is.")
    if not _follows(recovered, IN_A_ROW):
        notes.append(
            "The network was recovered in several runs; the command does these steps in one run, so weights may differ."
        )
    if FINE_TUNED in recovered:
        notes.append("Fine-tuning runs anew: the weights are the same only where the training is deterministic.")
    if request.weights is None and request.spec is not None and is_factory_spec(request.spec):
        notes.append("Your code makes the weights: they are the same only where it doesn't draw them at random.")
    if os.path.exists(output):
        notes.append(f"{output.name} exists, and is replaced only with --force.")
    arguments = ("prune", *_opening(request, any(flags.values())), *options(recipe))
    arguments += (*(f"--{name}" for name, wanted in flags.items() if wanted), "-o", str(output))
    return CommandLog(arguments, recipe.to_toml(), _python(request, recipe, flags, output), tuple(notes))


def _tuned_at(recovered: Sequence[str]) -> int:
    return list(recovered).index(FINE_TUNED) if FINE_TUNED in recovered else len(recovered)


def _follows(steps: Sequence[str], order: Sequence[str]) -> bool:
    """Whether some steps are some of others, in their order."""
    rest = iter(order)
    return all(step in rest for step in steps)


def _opening(request: OpenRequest, recovers: bool) -> list[str]:
    """The arguments that open the network; without the task that the command takes by itself."""
    spec = request.spec or DEFAULT
    own = bundled_task(spec, request.weights) if recovers else None
    task = None if request.task is None or (own is not None and request.task == str(own)) else request.task
    chosen = {
        "--weights": request.weights,
        "--input": request.input_spec,
        "--task": task,
        "--latency-table": request.latency_table,
        "--device": request.device if request.device != OpenRequest.device else None,
    }
    return [spec, *(word for flag, value in chosen.items() if value is not None for word in (flag, value))]


def _python(request: OpenRequest, recipe: Recipe, flags: Mapping[str, bool], output: Path) -> str:
    opening = {
        "weights": request.weights,
        "input_spec": request.input_spec,
        "device": request.device if request.device != OpenRequest.device else None,
    }
    opens = "".join(f", {name}={value!r}" for name, value in opening.items() if value is not None)
    lines = [
        "import tui_prune",
        "from tui_prune.loading.open_model import open_model",
        "",
        f"opened = open_model({request.spec!r}{opens})",
        "result = tui_prune.prune(",
        "    opened.module,",
        "    opened.example_inputs,",
        "    example_kwargs=opened.example_kwargs,",
    ]
    for field in FIELDS:
        if field.is_changed(recipe):
            value = getattr(recipe, field.name)
            lines.append(f"    {field.name}={dict(value) if isinstance(value, Mapping) else value!r},")
    for name, value in (("task", request.task), ("latency_table", request.latency_table)):
        if value is not None:
            lines.append(f"    {name}={value!r},")
    lines.append(")")
    if any(flags.values()):
        chosen = ", ".join(f"{name}={wanted}" for name, wanted in flags.items())
        lines.append(f"result = tui_prune.recover(result, {request.task!r}, {chosen})")
    return "\n".join([*lines, f"tui_prune.save({str(output)!r}, result)", ""])
