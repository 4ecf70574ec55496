"""What a suggested network may need."""

from collections.abc import Mapping
from dataclasses import dataclass

from tui_prune.cost.cost import Cost
from tui_prune.errors import UsageError

_WORDS = {"macs": "MACs", "params": "parameters"}


@dataclass(frozen=True)
class Goal:
    """The share of what the network needs that may be left, by a field of `Cost`: "macs", "params"."""

    shares: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.shares:
            raise UsageError("Say what the suggested network may need: a share of the MACs or of the parameters.")
        for name, share in self.shares.items():
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
                raise UsageError(f"The target of {_WORDS[name]} must be a share above 0 and up to 1; it is {share!r}.")

    def excess(self, before: Cost, after: Cost) -> float:
        """By which share of their limits the costs lie above them, in sum; 0: the goal is met."""
        return sum(
            max(0.0, getattr(after, name) / (share * getattr(before, name) or 1) - 1)
            for name, share in self.shares.items()
        )

    def in_words(self) -> str:
        """What is asked for."""
        return " and ".join(f"{100 * share:.3g} % of the {_WORDS[name]}" for name, share in self.shares.items())

    def left_in_words(self, before: Cost, after: Cost) -> str:
        """What is left of each."""
        return " and ".join(
            f"{100 * getattr(after, name) / (getattr(before, name) or 1):.3g} % of the {_WORDS[name]}"
            for name in self.shares
        )
