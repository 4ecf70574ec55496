"""What outlives the app: the choices made for a network, written on each change, its recovered weights, and a log of
what was done."""

from tui_prune.session.autosave.places import log_file, state_folder
from tui_prune.session.autosave.saved_work import SavedWork, forget, kept_work, recent, set_aside, write

__all__ = ["SavedWork", "forget", "kept_work", "log_file", "recent", "set_aside", "state_folder", "write"]
