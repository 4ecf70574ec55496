"""Numbers in; terminal text or SVG out. Knows no room and no torch."""

from tui_prune.plots.binning import COUNTED, Bins, binned, counted_like
from tui_prune.plots.charts import Chart, bins_for, histogram, scores, stacked
from tui_prune.plots.costs import CostBars, Costs
from tui_prune.plots.curves import BEST, Curve
from tui_prune.plots.errors import Error, ErrorBars
from tui_prune.plots.heat import HeatMap
from tui_prune.plots.spans import Drawing, Row, Span, blank, style_of, terminal_text, text_of
from tui_prune.plots.surface import ANGLE, STEP, Surface

__all__ = [
    "ANGLE",
    "BEST",
    "COUNTED",
    "STEP",
    "Bins",
    "Chart",
    "CostBars",
    "Costs",
    "Curve",
    "Drawing",
    "Error",
    "ErrorBars",
    "HeatMap",
    "Row",
    "Span",
    "Surface",
    "binned",
    "bins_for",
    "blank",
    "counted_like",
    "histogram",
    "scores",
    "stacked",
    "style_of",
    "terminal_text",
    "text_of",
]
