"""The options of the command line that several commands share, and how those of a recipe become one."""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any

import typer

from tui_prune.planning.fields import FIELDS, Field
from tui_prune.planning.recipe import Recipe
from tui_prune.tasks.registry import FORMS

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A torchvision name (resnet50), a name of timm's (timm:resnet50), a bundled name (nin), "
        "hf:FOLDER_OR_NAME of transformers, file.py:factory, a weights file or a pruned checkpoint.",
    ),
]
Weights = Annotated[str | None, typer.Option(metavar="FILE", help="Trained weights: .pt, .pth or .safetensors.")]
Input = Annotated[
    str | None,
    typer.Option(
        "--input", metavar="SHAPE", help="Shape of the input: 1,3,224,224; of several: '1,3,32,32;mask=1,10'."
    ),
]
Device = Annotated[str, typer.Option(metavar="cpu|cuda", help="Where the network runs.")]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar=FORMS,
        help="What the network is for: a task file (evaluate, calibration, loss, finetune), or a built-in task with "
        "options after commas (imagefolder:DIR,size=224,limit=5000).",
    ),
]
LatencyTable = Annotated[
    str | None,
    typer.Option(
        metavar="TABLE.json",
        help="Plan latencies for the device that this table was measured on (tui-prune latency --export), not for this "
        "one.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Jobs = Annotated[
    int | None,
    typer.Option(metavar="N", help="Measure in N processes: one a CUDA device, or sharing the cores of the CPU."),
]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="auto|ray://HOST:PORT", help="Measure on a Ray cluster; auto: the one this machine is in."),
]
RecipeFile = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="FILE.toml|NAME",
        help="A recipe file, or a bundled recipe (resnet18-inside); options on the line win over it.",
    ),
]

Dead = Annotated[
    bool,
    typer.Option(
        "--dead",
        help="Cut only channels that do nothing whatever the input is: the network stays what it was, to rounding.",
    ),
]
Thorough = Annotated[
    bool,
    typer.Option(
        "--thorough",
        help="With --suggest: evaluate some hundred networks, instead of a few that calibration data has led to.",
    ),
]
Suggest = Annotated[bool, typer.Option("--suggest", help="Find by the task which criterion and ratios suit.")]
Reconstruct = Annotated[
    bool,
    typer.Option(
        "--reconstruct",
        help="Refit each layer to what it gave before the cut, by the task's calibration data; needs no labels.",
    ),
]
Recalibrate = Annotated[
    bool, typer.Option("--recalibrate", help="Estimate batch-norm statistics anew by the task's calibration data.")
]
Finetune = Annotated[
    bool,
    typer.Option(
        "--finetune",
        help="Fine-tune by the task's own loop, or by the built-in one, which learns from the uncut network; the best "
        "state is saved.",
    ),
]
Training = Annotated[
    str | None,
    typer.Option(
        metavar="KEY=VALUE,…",
        help="Fine-tune by the built-in loop, so: steps=500, minutes=10, lr=0.001, optimizer=adamw|sgd, only=norms, "
        "labels=0.5.",
    ),
]
Procs = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=1,
        help="With --finetune: so many processes train together, one a CUDA device or sharing the cores of the CPU.",
    ),
]
Rounds = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=1,
        help="Cut in so many steps, recovered after each (--reconstruct, --recalibrate, --finetune).",
    ),
]
Finalists = Annotated[
    int,
    typer.Option(
        metavar="N", min=1, help="With --suggest and --finetune: so many suggestions are fine-tuned, the best is saved."
    ),
]


_Command = Callable[..., None]


def recipe_options(
    *names: str, without: Collection[str] = (), fields: Sequence[Field] = FIELDS
) -> Callable[[_Command], _Command]:
    """Give a command options for fields of a recipe, in place of its parameter `chosen`.

    They are all fields, those of some `names`, or all `without` some. The command gets what was given, by field: texts,
    or lists of texts for an option that is repeated.
    """
    taken = [field for field in fields if (not names or field.name in names) and field.name not in without]

    def decorate(command: _Command) -> _Command:
        own = inspect.signature(command, eval_str=True)

        @functools.wraps(command)
        def called(**given: Any) -> None:
            command(chosen={field.name: given.pop(field.name) for field in taken}, **given)

        parameters: list[inspect.Parameter] = []
        for parameter in own.parameters.values():
            if parameter.name == "chosen":
                parameters += map(_parameter, taken)
            else:
                parameters.append(parameter)
        called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # what typer reads
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return called

    return decorate


def _parameter(field: Field) -> inspect.Parameter:
    text = f"{field.help}{'; repeatable' if field.option.repeated else ''}."
    kind = list[str] if field.option.repeated else str
    option = typer.Option(field.option.flag, metavar=field.option.metavar, help=text)
    return inspect.Parameter(
        field.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=Annotated[kind | None, option]
    )


def recipe_from(path: str | None, chosen: Mapping[str, Any], fields: Sequence[Field] = FIELDS) -> Recipe:
    """The recipe of a file with the options of the line over it; an option that is None says nothing.

    `chosen` has texts by field, as `recipe_options` gives them. Raises `UsageError`.
    """
    recipe = Recipe.from_toml(path) if path else Recipe()
    changes = {}
    for field in fields:
        if chosen.get(field.name) is None:
            continue
        value, before = field.option.parse(chosen[field.name]), getattr(recipe, field.name)
        if isinstance(before, Mapping):
            # An entry of the line goes to the end, where a glob wins over the file's.
            value = {key: entry for key, entry in before.items() if key not in value} | value
        elif isinstance(before, tuple):
            value = (*before, *(entry for entry in value if entry not in before))
        changes[field.name] = value
    return recipe.changed(**changes)
