"""Pictures of a place in a network, for the app and for `tui-prune plot`: which there are, and what is said of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tui_prune import plots
from tui_prune.formatting import change, count, share
from tui_prune.plots import svg
from tui_prune.report.kinds import KINDS

if TYPE_CHECKING:
    from torch import Tensor

    from tui_prune.session.looking import Activations, Look
    from tui_prune.session.looking.layer import LayerDetails


class View(NamedTuple):
    """How pictures are looked at."""

    log: bool = False
    """Heights on a logarithmic scale."""
    zoomed: bool = False
    """A histogram shows the central 99 %, a heat map every output by itself."""
    angle: int = plots.ANGLE
    """Degrees by which a surface is turned."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A heading, some figures that go with it, and what is drawn."""

    name: str
    figures: str
    drawing: plots.Drawing


def pictures(look: "Look", kind: str, view: View, width: int) -> Sequence[Picture]:
    """The pictures of a kind, one of `kinds_of`; `width` is the columns that they will have, or so."""
    made: Sequence[Picture] = KINDS[kind].make(look, view, width)
    return made


def document(look: "Look", kind: str, view: View, width: int, height: int) -> str:
    """The same as a file of SVG, of so many points, or as high as it needs to be."""
    made = pictures(look, kind, view, int(width / svg.LETTER))
    parts = []
    for picture in made:
        tall = max(120, height // len(made) - svg.HEAD - svg.EDGE)
        heading = f"{look.path} · {picture.name}" if look.path else picture.name
        parts.append(
            (heading, picture.figures, picture.drawing.svg(width, tall), picture.drawing.svg_height(width, tall))
        )
    return svg.document(parts, width)


def weights(look: "Look", view: View, width: int) -> list[Picture]:
    """The weights of a layer as a histogram."""
    assert look.details is not None and look.details.weights is not None
    values = look.details.weights
    bins = plots.binned(values, plots.bins_for(width, values.numel()), central=view.zoomed)
    kept = _kept_counts(look.details, bins)
    figures = _figures(bins, view)
    if kept is not None:
        figures += f", {share(max(0.0, bins.counts.sum() - kept.sum()), bins.counts.sum())} go (shaded)"
    return [Picture("weights", figures, plots.histogram(bins, log=view.log, kept=kept))]


def _kept_counts(details: "LayerDetails", bins: plots.Bins) -> np.ndarray | None:
    """The counts of the weights that stay; None where all do, or where they are too many to count them again."""
    weights, outputs, inputs = details.weights, details.outputs_kept, details.inputs_kept
    if weights is None or weights.numel() > plots.COUNTED or (outputs.all() and inputs.all()):
        return None
    weights = weights.detach()
    stay = weights[outputs.nonzero()[0].tolist()][:, inputs.nonzero()[0].tolist()]
    return plots.counted_like(stay, bins)


def scores(look: "Look", view: View, width: int) -> list[Picture]:
    """A layer's channels ranked by their scores."""
    assert look.details is not None and look.details.scores is not None and look.details.kept is not None
    kept = look.details.kept
    drawing = plots.scores(look.details.scores, kept, log=view.log)
    return [
        Picture("channel scores", f"{_how(view, zooms=False)}{_gone(kept, 'channels')}, {look.details.scored}", drawing)
    ]


def scales(look: "Look", view: View, width: int) -> list[Picture]:
    """The scales of batch norms."""
    assert look.norms is not None
    layers, values, kept = look.norms
    figures = f"{_gone(kept, 'scales')}, {layers[0] if len(layers) == 1 else f'{len(layers)} layers'}"
    if np.isfinite(values).any():
        figures += f", from {np.nanmin(values):.2g} to {np.nanmax(values):.2g}"
    bins = plots.bins_for(width, len(values))
    recipe = look.plan.recipe
    line = recipe.threshold if recipe.criterion == "bn_scale" else None
    drawing = plots.stacked(values, kept, bins, log=view.log, central=view.zoomed, line=line)
    return [Picture("batch norm scales", f"{_how(view)}{figures}", drawing)]


def heat(look: "Look", view: View, width: int) -> list[Picture]:
    """The weights of a layer, a point each."""
    details = look.details
    assert details is not None and details.weights is not None
    weights = as_array(details.weights)
    drawing = plots.HeatMap(weights, details.outputs_kept, details.inputs_kept, view.zoomed)
    return [Picture("weights", _shape(weights, details.outputs_kept, details.inputs_kept), drawing)]


def surface(look: "Look", view: View, width: int) -> list[Picture]:
    """The sizes of a layer's weights as a landscape."""
    details = look.details
    assert details is not None and details.weights is not None
    weights = as_array(details.weights)
    drawing = plots.Surface(weights, details.outputs_kept, details.inputs_kept, view.angle)
    figures = f"{view.angle % 360}°, {_shape(weights, details.outputs_kept, details.inputs_kept)}"
    return [Picture("sizes of weights", figures, drawing)]


def activations(look: "Look", view: View, width: int) -> list[Picture]:
    """What a layer puts out for calibration data."""
    assert look.details is not None
    name = look.details.layer.name
    if look.measured is None:
        return [Picture("activations", "", Words("m runs the calibration data through the network once."))]
    found = look.measured.get(name)
    if found is None:
        return [Picture("activations", "", Words("The calibration data doesn't reach this layer."))]
    bins = plots.binned(found.values, plots.bins_for(width, len(found.values)), central=view.zoomed)
    figures = f"{count(found.count)} values, mean {bins.mean:.2g}, deviation {bins.deviation:.2g}"
    if found.zeros:
        figures += f", {share(found.zeros, found.count)} zero"
    made = [Picture("activations", f"{_how(view)}{figures}", plots.histogram(bins, log=view.log))]
    if found.channels is not None:
        made.append(_ranked(look, found, view))
    return made


def _ranked(look: "Look", found: "Activations", view: View) -> Picture:
    assert look.details is not None and found.channels is not None
    kept = look.details.outputs_kept
    kept = kept if len(kept) == len(found.channels) else np.ones(len(found.channels), bool)
    figures = f"{_how(view, zooms=False)}mean size of each channel's, {_gone(kept, 'channels')}"
    return Picture("activity", figures, plots.scores(found.channels, kept, log=view.log))


def costs(look: "Look", view: View, width: int) -> list[Picture]:
    """MACs and parameters of all layers."""
    layers = tuple(
        plots.Costs(layer.name, (layer.macs.before, layer.macs.after), (layer.params.before, layer.params.after))
        for layer in look.layers
        if layer.producer or layer.name == look.path
    )
    plan = look.plan
    figures = ", ".join(
        f"{words} {share(after, before)} left" if after != before else f"{count(before)} {words}"
        for words, before, after in (
            ("MACs", plan.before.macs, plan.after.macs),
            ("parameters", plan.before.params, plan.after.params),
        )
    )
    return [Picture("costs", figures, plots.CostBars(layers, look.path))]


def errors(look: "Look", view: View, width: int) -> list[Picture]:
    """What is wrong in each layer, before and after it was refitted."""
    found = look.reconstruction
    assert found is not None
    shown = {layer.name for layer in look.layers} if look.path else {layer.name for layer in found.layers}
    layers = tuple(plots.Error(layer.name, layer.cut, layer.left) for layer in found.layers if layer.name in shown)
    figures = f"of the outputs {100 * found.before:.3g} → {100 * found.after:.3g} %, by {found.inputs} inputs"
    return [Picture("errors by layer", figures, plots.ErrorBars(layers, look.path))]


@dataclass(frozen=True)
class Words:
    """What is said where there is nothing to draw."""

    words: str

    def rows(self, width: int, height: int, *, colors: bool = True) -> tuple[plots.Row, ...]:
        """A row of them."""
        return ((plots.Span(self.words[:width]),),)

    def svg(self, width: int, height: int) -> list[str]:
        """A line of them."""
        return [svg.text(0, 20, self.words, "note")]

    def svg_height(self, width: int, height: int) -> int:
        """The height of a line."""
        return 40


def _figures(bins: plots.Bins, view: View) -> str:
    figures = f"{count(bins.total)} values"
    if bins.left_out < bins.total:
        figures += f", mean {bins.mean:.2g}, deviation {bins.deviation:.2g}"
    if bins.zeros:
        figures += f", {share(bins.zeros, bins.total)} zero"
    if bins.left_out:
        figures += f", {count(bins.left_out)} not finite"
    return f"{_how(view)}{figures}"


def _gone(kept: np.ndarray, words: str) -> str:
    gone = int((~kept).sum())
    return f"{gone} of {len(kept)} go (shaded)" if gone else f"{len(kept)} {words}"


def _how(view: View, *, zooms: bool = True) -> str:
    """How bars are looked at, where that isn't as usual; first, since words at the end may have no room."""
    return "log, " * view.log + "central 99 %, " * (view.zoomed and zooms)


def _shape(weights: np.ndarray, outputs_kept: np.ndarray, inputs_kept: np.ndarray) -> str:
    outputs, inputs, height, width = weights.shape
    said = " x ".join(
        change(str(size), str(int(kept.sum()))) for size, kept in ((outputs, outputs_kept), (inputs, inputs_kept))
    )
    return f"{said} kernels of {height}x{width}" if height * width > 1 else said


def as_array(weights: "Tensor") -> np.ndarray:
    """A tensor's numbers, in float32 where numpy doesn't know its format; not copied where that can be done without."""
    weights = weights.detach().cpu()
    if weights.is_complex():
        weights = weights.abs()
    if not weights.dtype.is_floating_point or weights.element_size() < 4:
        weights = weights.float()
    return weights.numpy()
