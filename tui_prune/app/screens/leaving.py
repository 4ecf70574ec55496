"""Leaving a dialog. Keys that come close together, as over a slow line, may ask for it twice; Textual then takes the
screen below away, too."""

from textual.await_complete import AwaitComplete
from textual.screen import Screen


class LeavesOnce:
    """To be put before `ModalScreen`: only the screen that is on top leaves."""

    def dismiss(self, result: object = None) -> AwaitComplete:
        """As `Screen.dismiss`."""
        assert isinstance(self, Screen)
        if self.is_active:
            return super().dismiss(result)  # type: ignore[misc]  # the screen that this is put before
        return AwaitComplete()
