"""What can be chosen on the start screen: networks by name, files in a directory, factories in a file."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_prune import models, paths
from tui_prune.app.typed_paths import MOST, absolute, going_on, is_folder, split
from tui_prune.errors import TuiPruneError
from tui_prune.formatting import ago, count
from tui_prune.loading.request import OpenRequest
from tui_prune.loading.sources.factory_names import factory_names
from tui_prune.session.autosave import SavedWork

WEIGHTS = (".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".tar")
MOST_RECENT = 4
MOST_FOUND = 200


@dataclass(frozen=True)
class Networks:
    """The page with everything that can be opened."""


@dataclass(frozen=True)
class Folder:
    """The page of a directory."""

    path: Path
    hidden: bool = False
    """Whether files are listed whose names start with a dot."""
    network: str | None = None
    """The factory that weights are looked for; None: whatever can be opened."""


@dataclass(frozen=True)
class Factories:
    """The page of what a Python file offers."""

    file: Path


@dataclass(frozen=True)
class WeightsOf:
    """The page that asks which weights a factory's network should have."""

    network: str


@dataclass(frozen=True)
class TypeName:
    """What choosing leads to the field where one types."""


Page = Networks | Folder | Factories | WeightsOf


@dataclass(frozen=True)
class Entry:
    """A row of a page."""

    name: str
    words: str = ""
    side: str = ""
    """What stands at the right edge."""
    leads: OpenRequest | Page | TypeName | None = None
    """What choosing it does; None: it is a heading, or a remark."""
    path: Path | None = None
    """The file whose size and date are shown, when the row is."""


def network_entries(works: Sequence[SavedWork], now: float | None = None) -> list[Entry]:
    """The first page: what was opened before, the ways to name something else, the bundled networks."""
    entries = []
    if works:
        entries.append(Entry("Recent"))
        entries += _recent(works[:MOST_RECENT], now)
    entries.append(Entry("Yours"))
    entries.append(Entry("a file…", "weights, a checkpoint, or its code", leads=_here()))
    entries.append(Entry("a name…", "a network of torchvision's or timm's", leads=TypeName()))
    entries.append(Entry("Bundled", "  by name, and how many parameters they have"))
    return entries + [_bundled(name) for name in models.NETWORKS]


def found_entries(text: str, works: Sequence[SavedWork], names: Iterable[str] | None) -> list[Entry]:
    """What has the typed letters in its name; `names` are torchvision's and timm's, None while they aren't known."""
    wanted = text.strip().lower()
    recent = _recent([work for work in works if wanted in work.title.lower()][:MOST_RECENT], None)
    known = {name: _bundled(name) for name in models.NETWORKS}
    known |= {name: _by_name(name) for name in names or () if name not in known}
    hits = sorted(
        (name for name in known if wanted in name.lower()), key=lambda name: (_rank(name.lower(), wanted), name)
    )
    entries = [known[name] for name in hits[:MOST_FOUND]]
    if len(hits) > MOST_FOUND:
        entries.append(Entry("", f"and {len(hits) - MOST_FOUND} more: type on"))
    if wanted not in known:
        as_typed = Entry(text.strip(), "as it is typed", leads=OpenRequest(text.strip()))
        entries = [*entries, as_typed] if hits else [as_typed]
    if names is None:
        entries.append(Entry("", "looking up the names of torchvision's and timm's networks…"))
    return [*recent, *entries] if wanted not in known else [*entries, *recent]


def factory_entries(page: Factories) -> list[Entry]:
    """What the file offers, without running it."""
    try:
        offered = factory_names(page.file)
    except TuiPruneError as error:
        return [Entry("", str(error))]
    if not offered:
        return [Entry("", f"{page.file.name} has no function or class that can be called without arguments.")]
    return [
        Entry(
            f"{factory.name}()",
            factory.about or f"a {factory.kind}",
            f"line {factory.line}",
            WeightsOf(f"{page.file}:{factory.name}"),
        )
        for factory in offered
    ]


def weights_entries(page: WeightsOf, folder: Path) -> list[Entry]:
    """With or without a file of weights."""
    return [
        Entry("as it is", "with the weights that the code gives it", leads=OpenRequest(page.network)),
        Entry("a file…", "with trained weights", leads=Folder(folder, network=page.network)),
    ]


def folder_entries(page: Folder) -> list[Entry]:
    """The directories in a directory, then the files that can be opened; what can't be read says so."""
    parent = [Entry("../", "", "", Folder(page.path.parent, page.hidden, page.network))]
    if page.path.parent == page.path:
        parent = []
    try:
        folders, files = _listed(page.path, page.hidden, page.network)
    except OSError as error:
        return [*parent, Entry("", f"This directory can't be read: {error.strerror}.")]
    entries = [
        Entry(f"{name}/", leads=Folder(page.path / name, page.hidden, page.network))
        for name in sorted(folders, key=str.casefold)
    ]
    entries += [file_entry(page.path / name, page.network) for name in sorted(files, key=str.casefold)]
    if not files:
        kinds = WEIGHTS if page.network else (*WEIGHTS, ".py")
        entries.append(Entry("", f"no files here that end in {' '.join(kinds)}"))
    return [*parent, *entries]


def path_entries(text: str, base: Path, network: str | None = None) -> list[Entry]:
    """The files and directories that a typed path may go on to, each with its name as it would be typed."""
    typed = text.strip()
    file, colon, factory = typed.rpartition(":")
    if colon and file.endswith(".py"):
        return [Entry(typed, "as it is typed", leads=OpenRequest(f"{absolute(file, base)}:{factory}"))]
    if typed in ("~", "..", "."):
        return [Entry(f"{typed}/", leads=Folder(absolute(typed, base), network=network))]
    before, start = split(typed)
    path = absolute(before, base)
    try:
        found = going_on(path, start, lambda name: can_be_opened(name, network))
    except OSError as error:
        return [Entry("", f"{before or path} can't be read: {error.strerror}.")]
    entries = [Entry(f"{before}{name}/", leads=Folder(path / name, network=network)) for name in found.folders]
    entries += [file_entry(path / name, network, f"{before}{name}") for name in found.files]
    whole = absolute(typed, base)
    if paths.is_file(whole) and not can_be_opened(whole.name, network):
        as_typed = OpenRequest(str(whole)) if network is None else OpenRequest(network, str(whole))
        entries.insert(0, Entry(typed, "as it is typed", leads=as_typed, path=whole))
    elif not start and not before.endswith("../"):
        entries.insert(0, Entry(before, "this directory", leads=Folder(path, network=network)))
    if len(entries) > MOST or not found.all:
        return [*entries[:MOST], Entry("", "and more: type on")]
    return entries or [Entry("", f"There is nothing that starts with {typed}.")]


def file_entry(path: Path, network: str | None = None, name: str | None = None) -> Entry:
    """A file that can be opened."""
    leads: OpenRequest | Page
    if path.suffix == ".py":
        leads = Factories(path)
    elif network is not None:
        leads = OpenRequest(network, str(path))
    else:
        leads = OpenRequest(str(path))
    return Entry(path.name if name is None else name, leads=leads, path=path)


def can_be_opened(name: str, network: str | None) -> bool:
    """Whether a file of this name is listed; `network`: whether weights are looked for."""
    return name.lower().endswith(WEIGHTS) or (network is None and name.endswith(".py"))


def _listed(path: Path, hidden: bool, network: str | None) -> tuple[list[str], list[str]]:
    folders, files = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith(".") and not hidden:
                continue
            if is_folder(entry):
                folders.append(entry.name)
            elif can_be_opened(entry.name, network):
                files.append(entry.name)
    return folders, files


def _here() -> Folder:
    return Folder(paths.browsed_folder())


def _recent(works: Sequence[SavedWork], now: float | None) -> list[Entry]:
    """What was opened before; of those with one title, the file says which it is."""
    titles = Counter(work.title for work in works)
    names = [work.title if titles[work.title] == 1 else f"{work.title}{_file_of(work)}" for work in works]
    twice = Counter(names)
    names = [
        name if twice[name] == 1 else f"{work.title}{_file_of(work, folder=True)}"
        for name, work in zip(names, works, strict=True)
    ]
    return [
        Entry(name, work.summary, ago(work.changed, now), work.request) for name, work in zip(names, works, strict=True)
    ]


def _file_of(work: SavedWork, *, folder: bool = False) -> str:
    """The file of the weights, or of the code; nothing for what has a name alone."""
    request = work.request
    named = request.spec if request.spec and "/" in request.spec else None
    file = request.weights or named
    if file is None:
        return ""
    path = Path(file)
    return f" · {path.parent.name}/{path.name}" if folder else f" · {path.name}"


def _bundled(name: str) -> Entry:
    network = models.NETWORKS[name]
    about = f"{network.about}, trained" if network.trained else network.about
    return Entry(name, about, count(network.parameters), OpenRequest(name))


def _by_name(name: str) -> Entry:
    source = "timm" if ":" in name else "torchvision"
    return Entry(name, source, leads=OpenRequest(name))


def _rank(name: str, wanted: str) -> int:
    """Names that are it, then those that start with it; a prefix as "timm:" counts as none."""
    bare = name.rpartition(":")[2]
    return 0 if name == wanted else 1 if bare == wanted else 2 if bare.startswith(wanted) else 3
