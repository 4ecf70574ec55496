"""The terminal app (Textual); it shows the session and decides nothing of its own."""

import logging

logging.getLogger("tui_prune").addHandler(logging.NullHandler())  # or what nobody logs would be printed on the screen
