"""The options of the command line that several commands share, and how those of a recipe become one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import typer

from tui_prune.errors import UsageError
from tui_prune.planning.recipe import (
    AUTO,
    COMBINES,
    CRITERIA,
    GROUPED,
    HEADS,
    NORMALISATIONS,
    RESIDUALS,
    ROUNDINGS,
    SCOPES,
    Recipe,
)

_Value = TypeVar("_Value", int, float)

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
    typer.Option("--task", metavar="FILE.py", help="What the network is for: evaluate, calibration, loss, finetune."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RecipeFile = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="FILE.toml|NAME",
        help="A recipe file, or a bundled recipe (resnet18-inside); options on the line win over it.",
    ),
]

Ratio = Annotated[float | None, typer.Option(metavar="R", help="Share of the channels to cut, 0 to 1.")]
Layer = Annotated[
    list[str] | None, typer.Option(metavar="NAME=R", help="Ratio of a layer or a glob of layers; repeatable.")
]
Threshold = Annotated[
    float | None, typer.Option(metavar="S", help="Instead of a ratio: channels with a lower score go.")
]
TargetMacs = Annotated[
    float | None, typer.Option(metavar="R", help="Instead of a ratio: the largest network with this share of the MACs.")
]
TargetParams = Annotated[float | None, typer.Option(metavar="R", help="The same for the parameters.")]
TargetBytes = Annotated[str | None, typer.Option(metavar="SIZE", help="The same for their bytes: 5MB.")]
TargetLatency = Annotated[
    float | None, typer.Option(metavar="R", help="The same for the latency, which is measured on this device.")
]
MinChannels = Annotated[int | None, typer.Option(metavar="N", help="So many channels stay in each layer at least.")]
MaxRatio = Annotated[float | None, typer.Option(metavar="R", help="No layer loses a larger share than this.")]
Align = Annotated[
    str | None,
    typer.Option(metavar="N|auto", help="Kept widths are multiples of N; auto: of what suits this device, measured."),
]
LayerAlign = Annotated[
    list[str] | None, typer.Option(metavar="NAME=N", help="Alignment of a layer or a glob; repeatable.")
]
AlignRounding = Annotated[str | None, typer.Option(metavar="|".join(ROUNDINGS), help="Which multiple a width goes to.")]
Criterion = Annotated[
    str | None, typer.Option(metavar="|".join(CRITERIA), help="How the importance of a channel is told.")
]
Combine = Annotated[
    str | None,
    typer.Option(metavar="|".join(COMBINES), help="What is made of the scores that several layers give a channel."),
]
Normalise = Annotated[
    str | None,
    typer.Option(metavar="|".join(NORMALISATIONS), help="What a layer's scores are divided by, to compare layers."),
]
Scope = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(SCOPES), help="local: each layer loses the ratio; global: all channels are ranked together."
    ),
]
Lock = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="A layer or a glob that stays as it is; repeatable.")
]
Unlock = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="A layer whose model output may be cut; repeatable.")
]
Residual = Annotated[
    str | None, typer.Option(metavar="|".join(RESIDUALS), help="Whether channels that are added up may be cut.")
]
Heads = Annotated[
    str | None,
    typer.Option(metavar="|".join(HEADS), help="How attention is cut: places in each head, or whole heads."),
]
Grouped = Annotated[
    str | None, typer.Option(metavar="|".join(GROUPED), help="How grouped convolutions and norms are cut.")
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
    bool, typer.Option("--finetune", help="Fine-tune by the task's own loop; its best state is saved.")
]
Finalists = Annotated[
    int,
    typer.Option(
        metavar="N", min=1, help="With --suggest and --finetune: so many suggestions are fine-tuned, the best is saved."
    ),
]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Seed of the criterion random.")]


def recipe_from(path: str | None, **options: Any) -> Recipe:
    """The recipe of a file with the options of the line over it; an option that is None says nothing.

    Options are the recipe's fields; of `layers` and `layer_align` the texts "NAME=R" and "NAME=N", `align` is a text.
    Raises `UsageError`.
    """
    recipe = Recipe.from_toml(path) if path else Recipe()
    options["layers"] = _pairs("--layer", "NAME=R, such as 'layer1.*=0.25'", options.get("layers"), float)
    options["layer_align"] = _pairs("--layer-align", "NAME=N, such as 'layer1.*=16'", options.get("layer_align"), int)
    options["align"] = _alignment(options.get("align"))
    changes = {}
    for name, value in options.items():
        if value is None:
            continue
        before = getattr(recipe, name)
        if isinstance(before, Mapping):
            # An entry of the line goes to the end, where a glob wins over the file's.
            value = {key: entry for key, entry in before.items() if key not in value} | value
        elif isinstance(before, tuple):
            value = (*before, *(entry for entry in value if entry not in before))
        changes[name] = value
    return recipe.changed(**changes)


def _alignment(text: str | None) -> int | str | None:
    if text is None or text == AUTO:
        return text
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--align takes a whole number, or auto; it was {text!r}.") from None


def _pairs(
    option: str, form: str, texts: Sequence[str] | None, number: Callable[[str], _Value]
) -> dict[str, _Value] | None:
    if texts is None:
        return None
    pairs = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            pairs[name] = number(value)
        except ValueError:
            name = ""
        if not name:
            raise UsageError(f"{option} takes {form}; it was {text!r}.")
    return pairs
