"""The sources of networks that are built by name: a file each in this folder, and one line in `SOURCES`.

A checkpoint names its network by a source's `kind`, a name and plain arguments (`Origin`), so it can be built again
without running code that it brings along.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from tui_prune.archives.origin import Origin
from tui_prune.errors import TuiPruneError
from tui_prune.formatting import shown
from tui_prune.loading.sources import bundled, huggingface, timm, torchvision

Arguments = Mapping[str, Any]
Opening = Callable[[str], tuple[nn.Module, Origin, tuple[str, ...]]]
"""The network of a name with its weights, its origin, and what is to be said of it."""


@dataclass(frozen=True)
class Source:
    """Networks that can be built by name."""

    kind: str
    """How an origin, and a checkpoint, says that a network is from here."""
    build: Callable[[str, Arguments], nn.Module]
    """The network with random weights, by its name and arguments. It fetches nothing."""
    input_spec: Callable[[str, Arguments], str]
    """The shape of an input that the network can be run on; empty where that isn't known."""
    arguments: frozenset[str] | None = frozenset()
    """What an origin may pass to `build`: numbers and lists of them. None: `check` looks at them itself."""
    prefix: str = ""
    """Before a name, where a user writes it; empty: its names are written as they are."""
    names: Callable[[], Sequence[str]] = tuple
    """All names, without the prefix; empty where they can't be listed."""
    check: Callable[[str, Arguments], None] | None = None
    """Raises `TuiPruneError` or `UsageError` where a name can't be built, in place of a look into `names`."""
    likely_inputs: Callable[[str, Arguments], Sequence[str]] = lambda name, arguments: ()
    """Shapes to try first where `input_spec` has none."""
    version: Callable[[], str] | None = None
    """The version of the package that the networks are from. Raises `UsageError` when it isn't installed."""
    open: Opening | None = None
    """Where a name stands for a network with its weights: that network, its origin, and what is to be said of it."""

    def checked(self, origin: Origin) -> None:
        """Raise `TuiPruneError` or `UsageError` where an origin can't be built."""
        if self.check is not None:
            self.check(origin.name, origin.arguments)
        elif origin.name not in self.names():
            raise TuiPruneError(f"This installation has no {self.kind} network {origin.name!r}.")
        if self.arguments is None:
            return
        for key, value in origin.arguments.items():
            if key not in self.arguments or not _is_plain(value):
                raise TuiPruneError(f"A {self.kind} network isn't built with {key}={value!r}; nothing was built.")


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(item, int) for item in value)
    return isinstance(value, int)


_ALL = (
    Source(
        bundled.KIND,
        bundled.build_bundled,
        lambda name, arguments: bundled.bundled_input_spec(name),
        bundled.ARGUMENTS,
        names=bundled.bundled_names,
    ),
    Source(
        torchvision.KIND,
        torchvision.build_torchvision,
        torchvision.torchvision_input_spec,
        torchvision.ARGUMENTS,
        names=torchvision.torchvision_names,
        version=torchvision.torchvision_version,
    ),
    Source(
        timm.KIND,
        timm.build_timm,
        timm.timm_input_spec,
        timm.ARGUMENTS,
        prefix=timm.PREFIX,
        names=timm.installed_names,
        check=lambda name, arguments: timm.check_timm_name(name),
        version=timm.timm_version,
    ),
    Source(
        huggingface.KIND,
        huggingface.build_huggingface,
        lambda name, arguments: "",
        arguments=None,
        prefix=huggingface.PREFIX,
        check=huggingface.check_huggingface,
        likely_inputs=huggingface.likely_inputs,
        version=huggingface.transformers_version,
        open=huggingface.open_huggingface,
    ),
)

SOURCES: dict[str, Source] = {source.kind: source for source in _ALL}
"""By kind. Names without a prefix are looked up in this order."""


def source_of(origin: Origin) -> Source:
    """The source of an origin. Raises `TuiPruneError` where its network is the user's own, or of no known source."""
    if not origin.buildable:
        raise TuiPruneError(f"{origin.title} is a network of your own; only you can build it.")
    if origin.kind not in SOURCES:
        raise TuiPruneError(
            f"This version of tui-prune doesn't know how a network of the kind {shown(origin.kind)} is built."
        )
    return SOURCES[origin.kind]


def source_by_prefix(spec: str) -> tuple[Source, str] | None:
    """The source that a user means by "timm:resnet50", and the name without its prefix."""
    for source in SOURCES.values():
        if source.prefix and spec.startswith(source.prefix):
            return source, spec.removeprefix(source.prefix)
    return None


def source_by_name(spec: str) -> tuple[Source, str] | None:
    """The source that a user means by "resnet50", and that name. The names of all sources are listed for it."""
    for source in SOURCES.values():
        if not source.prefix and spec in source.names():
            return source, spec
    return None
