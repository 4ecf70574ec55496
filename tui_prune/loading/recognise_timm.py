"""Which of timm's networks weights belong to. There are more than a thousand: the likely families are built first."""

import re
from collections.abc import Callable
from typing import NamedTuple

from tui_prune.archives.origin import Origin
from tui_prune.errors import TuiPruneError
from tui_prune.loading.signatures import Signature, SignatureTable
from tui_prune.loading.sources.timm import timm_families
from tui_prune.progress import Progress, part

Fits = Callable[[Origin, Signature], Origin | None]
"""The origin with the sizes of the weights' head, where the network of that signature fits them."""
_STAGE = "recognise: timm's"
_LEAST_ALIKE = 0.4
_MOST_FAMILIES = 6
_NUMBER = re.compile(r"\d+")


class InTimm(NamedTuple):
    """What was found among timm's networks."""

    fitting: list[Origin]
    """Those that fit, with their sizes; the ones named in the file name first."""
    near: list[Origin]
    """Those of the likeliest families that don't fit."""


def among_timm(shapes: Signature, hint: str, table: SignatureTable, fits: Fits, progress: Progress) -> InTimm:
    """Compare with the networks of the families whose names of tensors, numbers aside, are most like these.

    Families are known by one of their networks each (some 200, a few hundredths of a second each when they aren't in
    the table yet). `hint` is the name of the weights' file.
    """
    families = timm_families()
    likely = _likely_families(families, shapes, hint, table, part(progress, 0.0, 0.6))
    names = [name for family in likely for name in families[family]]
    names.sort(key=lambda name: (name not in hint, -len(name) if name in hint else len(name), name))
    fitting, near = _compare(names, table, fits, part(progress, 0.6, 0.9))
    # The same network often stands in another family, too, with another padding or norm: tf_efficientnet_b0.
    found = [origin.name for origin in fitting]
    rest = (name for family in families.keys() - set(likely) for name in families[family])
    akin = sorted(name for name in rest if any(one in name or name in one for one in found))
    fitting += _compare(akin, table, fits, part(progress, 0.9, 1.0))[0]
    return InTimm(fitting, near)


def _compare(
    names: list[str], table: SignatureTable, fits: Fits, progress: Progress
) -> tuple[list[Origin], list[Origin]]:
    """Those that fit, with their sizes, and those that don't."""
    fitting, near = [], []
    for index, name in enumerate(names):
        progress(_STAGE, index / len(names))
        origin = Origin("timm", name)
        signature = _signature(table, origin)
        if signature is not None:
            sized = fits(origin, signature)
            if sized is None:
                near.append(origin)
            else:
                fitting.append(sized)
    return fitting, near


def _likely_families(
    families: dict[str, list[str]], shapes: Signature, hint: str, table: SignatureTable, progress: Progress
) -> list[str]:
    wanted = _patterns(shapes)
    alike: list[tuple[float, str]] = []
    for index, (family, names) in enumerate(families.items()):
        progress(_STAGE, index / len(families))
        named = [name for name in names if name in hint]
        first = min(named or names, key=lambda name: (len(name), name))
        signature = _signature(table, Origin("timm", first))
        if signature is not None:
            found = _patterns(signature)
            alike.append((len(found & wanted) / len(found | wanted), family))
    alike.sort(key=lambda pair: -pair[0])
    return [family for share, family in alike[:_MOST_FAMILIES] if share >= _LEAST_ALIKE]


def _signature(table: SignatureTable, origin: Origin) -> Signature | None:
    try:
        return table.signature(origin)
    except TuiPruneError:  # a few need packages that aren't installed
        return None


def _patterns(signature: Signature) -> frozenset[str]:
    return frozenset(_NUMBER.sub("#", name) for name in signature)
