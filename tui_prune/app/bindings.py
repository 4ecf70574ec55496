"""The keys of the main screen. Each has an id, so that it can be remapped, and a sentence for help and palette.

The first that are shown, in this order, make the last line, after those of the half that has the keys.
"""

from textual.binding import Binding

from tui_prune.app.tabs import TABS

MAIN = [
    Binding("r", "ask_ratio", "ratio", id="ratio.layer", tooltip="Type the ratio of this layer, or of a module's"),
    Binding(
        "plus,equals_sign",
        "step(0.05)",
        "step",
        key_display="+ -",
        id="ratio.more",
        tooltip="Cut 5 points more here (top row: everywhere)",
    ),
    Binding(
        "minus,underscore",
        "step(-0.05)",
        "Cut less",
        key_display="-",
        id="ratio.less",
        tooltip="Cut 5 points less here (top row: everywhere)",
        show=False,
    ),
    Binding("s,ctrl+s", "save", "save", id="save", tooltip="Cut, verify, and write the pruned checkpoint"),
    Binding("question_mark,f1", "app.help", "help", key_display="?", id="help", tooltip="All keys that work here"),
    Binding("t", "ask_target", "target", id="target", tooltip="Say how large the network may be (MACs, MB)"),
    Binding("g", "ask_global", "Global", id="ratio.global", tooltip="Type the ratio for the whole network", show=False),
    Binding("x", "clear", "Clear ratio", id="ratio.clear", tooltip="Take this layer's own ratio away", show=False),
    Binding("L", "lock", "Lock or unlock", id="lock", tooltip="Keep this layer whole, or let it be cut", show=False),
    Binding("a", "ask_alignment", "Align", id="align", tooltip="Make all widths multiples of a number", show=False),
    Binding("A", "ask_own_alignment", "Align layer", id="align.layer", tooltip="Align this layer alone", show=False),
    Binding("m", "mark", "Mark", id="mark", tooltip="Mark rows: r + - x L a A then act on all", show=False),
    Binding("M", "mark_all", "Marks off", id="mark.all", tooltip="Take all marks off; or mark all shown", show=False),
    Binding("y", "copy", "Copy setting", id="copy", tooltip="Copy the layer's ratio, alignment, lock", show=False),
    Binding(
        "p", "paste", "Paste setting", id="paste", tooltip="Give this row, or all marked, what was copied", show=False
    ),
    Binding("T", "next_tied", "Next tied", id="tied", tooltip="The next layer tied to this one", show=False),
    Binding("i", "order", "Order", id="order", tooltip="Rows by MACs, parameters, sensitivity, cut", show=False),
    Binding(
        "f", "fold_repeated", "Fold repeated", id="fold.repeated", tooltip="Fold or unfold repeated blocks", show=False
    ),
    Binding("c", "ask_criterion", "Criterion", id="criterion", tooltip="What makes a channel important", show=False),
    Binding("o", "scope", "Scope", id="scope", tooltip="Rank channels in each layer, or all together", show=False),
    Binding("D", "dead", "Cut the dead", id="dead", tooltip="Cut only channels that do nothing", show=False),
    Binding("u", "undo", "Undo", id="undo", tooltip="Take the last change back", show=False),
    Binding("ctrl+r,U", "redo", "Redo", id="redo", tooltip="Make the change again that was taken back", show=False),
    Binding("B", "presets", "Presets", id="presets", tooltip="Start from a recipe that is known to work", show=False),
    Binding("H", "history", "History", id="history", tooltip="Walk through all that you have chosen", show=False),
    Binding("P", "plans", "Plans", id="plans", tooltip="Keep several plans, and compare them", show=False),
    Binding("W", "why", "Why so wide", id="why", tooltip="Why this layer gets just this width", show=False),
    Binding("v", "verify", "Verify", id="verify", tooltip="Cut now, and check the result in numbers", show=False),
    Binding("e", "evaluate", "Evaluate", id="evaluate", tooltip="Measure the accuracy by your task", show=False),
    Binding("V", "live", "Live accuracy", id="live", tooltip="Measure plans while keys rest, or don't", show=False),
    Binding("n", "scan", "Scan", id="scan", tooltip="Cut each layer alone, and see what it can bear", show=False),
    Binding(
        "S",
        "ask_suggestion",
        "Suggest",
        id="suggest",
        tooltip="Let the scan say how much each layer should lose",
        show=False,
    ),
    Binding(
        "R",
        "ask_recovery",
        "Recover",
        id="recover",
        tooltip="Win accuracy back: reconstruct, recalibrate, fine-tune",
        show=False,
    ),
    Binding(
        "w", "guided", "Guided", id="guided", tooltip="Target, suggest, reconstruct, fine-tune, save: next", show=False
    ),
    Binding("O", "open_another", "Open another", id="open.another", tooltip="Open another network", show=False),
    Binding("I", "ask_input", "Input", id="open.input", tooltip="Type the shape of the example input", show=False),
    Binding(
        "colon", "app.command_palette", "Commands", id="palette", tooltip="All that can be done, by name", show=False
    ),
    Binding("semicolon", "jump", "Jump", id="jump", tooltip="Letters appear: type one to go there", show=False),
    Binding("slash", "find", "Find", id="find", tooltip="Show only the layers with these letters", show=False),
    Binding(
        "full_stop", "everything", "All layers", id="everything", tooltip="Show norms and the like too", show=False
    ),
    Binding("tab,shift+tab", "other_half", "Other half", id="half", tooltip="To the other half and back", show=False),
    Binding("escape", "back", "Back", id="back", tooltip="Stop what is running; end the search; go back", show=False),
    Binding(
        "right_square_bracket", "tab(1)", "Next tab", key_display="]", id="tab.next", tooltip="The next tab", show=False
    ),
    Binding(
        "left_square_bracket",
        "tab(-1)",
        "Previous tab",
        key_display="[",
        id="tab.previous",
        tooltip="The tab before",
        show=False,
    ),
    *(
        Binding(
            str(place), tab.action or f"open_tab('{key}')", tab.name, id=f"tab.{key}", tooltip=tab.about, show=False
        )
        for place, (key, tab) in enumerate([*TABS.items()][:9], 1)
    ),
    Binding(
        "C",
        "copy_table",
        "Copy table",
        id="table.copy",
        tooltip="Copy the layers before and after, as Markdown",
        show=False,
    ),
    Binding(
        "E", "ask_export", "Export", id="export", tooltip="Write the comparison or the recipe to a file", show=False
    ),
    Binding(
        "Y",
        "command_log",
        "Command log",
        id="commands.log",
        tooltip="What you did as a command line, a recipe file and Python",
        show=False,
    ),
    Binding(
        "comma",
        "recipe",
        "Recipe",
        id="recipe",
        tooltip="All choices of the recipe, to look at and to change",
        show=False,
    ),
    Binding(
        "exclamation_mark",
        "show_failure",
        "What failed",
        id="failure",
        tooltip="The last error, and where it was",
        show=False,
    ),
]

HERE, MOVE, LOOK = "Here", "Move", "Look"
"""Groups of the help: what the widget that has the keys does, how one moves in it, and what has no other group."""
GROUPS = {
    HERE: ("guide",),
    "Cut": (
        *("ratio.layer", "ratio.more", "ratio.less", "ratio.global", "ratio.clear", "target", "align", "align.layer"),
        *("lock", "criterion", "scope", "dead", "presets", "recipe"),
        *("mark", "mark.all", "copy", "paste", "undo", "redo", "history"),
    ),
    LOOK: (),
    "Compare": ("plans", "table.copy"),
    "Accuracy": ("guided", "evaluate", "live", "scan", "suggest", "recover", "verify"),
    "File": (
        "save",
        "export",
        "commands.log",
        "open.another",
        "open.input",
        "failure",
        "palette",
        "help",
        "quit",
        "quit.anywhere",
    ),
    MOVE: (),
}
"""The groups of the help in their order, and by the ids of their bindings what is in each."""
