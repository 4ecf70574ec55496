"""Taking and giving away the keys without repainting: Textual repaints the whole widget each time."""

from textual import events
from textual.reactive import Reactive
from textual.widget import Widget


class QuietFocus:
    """For widgets that show by themselves, and in few cells, whether the keys go to them."""

    has_focus: Reactive[bool]

    def on_focus(self, event: events.Focus) -> None:
        self._take_keys(event, taken=True)

    def on_blur(self, event: events.Blur) -> None:
        self._take_keys(event, taken=False)

    def _take_keys(self, event: events.Focus | events.Blur, *, taken: bool) -> None:
        # What Widget does on these events, but for its refresh.
        assert isinstance(self, Widget)
        event.prevent_default()
        self.has_focus = taken
        if self.parent is not None:
            self.parent.post_message((events.DescendantFocus if taken else events.DescendantBlur)(self))
        self.keys_taken()

    def keys_taken(self) -> None:
        """Show that the keys go here now, or no longer do."""
