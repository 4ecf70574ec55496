"""The file format of a pruned checkpoint, its checksum, and reading it."""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tui_prune.archives.archive import read_archive
from tui_prune.archives.forms import FORMS, form_of
from tui_prune.archives.origin import Edit, Origin
from tui_prune.errors import TuiPruneError
from tui_prune.formatting import shown

FORMAT = "tui-prune"
VERSION = 1
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True, eq=False)
class SampledOutput:
    """One tensor that the network put out, whole or every `step`-th element of it."""

    shape: tuple[int, ...]
    step: int
    samples: Tensor
    largest: float
    """The largest magnitude of all elements."""


@dataclass(frozen=True, eq=False)
class Probe:
    """An input and what comes out for it, so that a stranger can check the file."""

    inputs: tuple[Any, ...] | None
    """None: they are large; `make_example_inputs` makes them from the checkpoint's `input_spec`."""
    keywords: Mapping[str, Any]
    """Keyword arguments of `forward`."""
    outputs: tuple[SampledOutput, ...]
    reference: str
    """Whose outputs: "masked original", or "cut network" where a mask can't tell what is right."""
    device: str
    """Where they were computed: "cpu", "cuda"."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The content of a pruned checkpoint, with a checksum that was right."""

    path: Path
    origin: Origin
    tensors: Mapping[str, Tensor]
    """Parameters and buffers of the cut network."""
    edits: tuple[Edit, ...]
    kept: Mapping[str, Tensor]
    """Positions on the axes ("conv1.weight/0") of the original that were kept."""
    recipe: Mapping[str, Any]
    report: Mapping[str, Any]
    versions: Mapping[str, str]
    input_spec: str
    probe: Probe | None
    made_from: Mapping[str, str] = field(default_factory=dict)
    """What tells the uncut weights, and the task, from others; only in files that wait to be gone on with."""

    def to_content(self) -> dict[str, Any]:
        """What is written: plain values and tensors, and the checksum over all of them."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "origin": self.origin.to_dict(),
            "edits": [
                [edit.module, edit.attribute, edit.value, *([list(edit.path)] if edit.path else [])]
                for edit in self.edits
            ],
            "recipe": dict(self.recipe),
            "report": dict(self.report),
            "versions": dict(self.versions),
            "input_spec": self.input_spec,
            "probe": None if self.probe is None else _probe_content(self.probe),
            "tensors": dict(self.tensors),
            "kept": dict(self.kept),
            **({"made_from": dict(self.made_from)} if self.made_from else {}),
        }
        return {**content, "checksum": checksum(content)}


def is_pruned_checkpoint(content: Any) -> bool:
    """Whether what a file contains says that it is a pruned checkpoint."""
    return isinstance(content, dict) and isinstance(said := content.get("format"), str) and said == FORMAT


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a pruned checkpoint, without running anything that is in it.

    Raises `UsageError` when there is no such file; `TuiPruneError` when it is no pruned checkpoint, is damaged or
    altered, or was written by a newer tui-prune.
    """
    content = read_archive(path, map_memory=False)
    if not is_pruned_checkpoint(content):
        raise TuiPruneError(f"{path} is no pruned checkpoint: `tui-prune prune` and tui_prune.save write those.")
    return parse_checkpoint(content, Path(path))


def report_in(path: Path) -> Mapping[str, Any]:
    """The report in a pruned checkpoint, without its tensors and without a look at its checksum; empty for any other
    file, and for one that can't be read."""
    try:
        read = getattr(FORMS[form_of(path)].codec, "read_metadata", read_archive)
        content = read(path)
    except (TuiPruneError, OSError):
        return {}
    report = content.get("report") if is_pruned_checkpoint(content) else None
    return report if isinstance(report, dict) else {}


def parse_checkpoint(content: dict[str, Any], path: Path) -> Checkpoint:
    """The checkpoint in the content of the file `path`. Raises `TuiPruneError` like `read_checkpoint`."""
    version = content.get("version")
    if type(version) is not int or version != VERSION:
        raise TuiPruneError(
            f"{path} has version {shown(version)} of the format, and this tui-prune reads version "
            f"{VERSION}. Install the newest tui-prune."
        )
    if not _checksum_is_right(content):
        raise TuiPruneError(f"{path} was damaged or altered: its checksum is wrong. Copy or save it again.")
    try:
        return Checkpoint(
            path=path,
            origin=Origin.from_dict(content["origin"]),
            tensors=_tensors(content["tensors"]),
            edits=tuple(_edit(*_list(values)) for values in _list(content["edits"])),
            kept=_positions(content["kept"]),
            recipe=_table("recipe", content["recipe"]),
            report=_table("report", content["report"]),
            versions=_texts("versions", content["versions"]),
            input_spec=_text("input_spec", content["input_spec"]),
            probe=None if content["probe"] is None else _probe(content["probe"]),
            made_from=_texts("made_from", content.get("made_from", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise TuiPruneError(f"{path} isn't built like a pruned checkpoint ({error!r}). Save it again.") from error


def _checksum_is_right(content: dict[str, Any]) -> bool:
    try:
        said = content.get("checksum")
        return isinstance(said, str) and said == checksum(
            {key: value for key, value in content.items() if key != "checksum"}
        )
    except (TuiPruneError, TypeError, ValueError, RuntimeError):  # such as a number of thousands of digits
        return False


def _tensors(values: Any) -> dict[str, Tensor]:
    if not isinstance(values, dict):
        raise TypeError("there are no tensors")
    for name, value in values.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            raise TypeError(f"{name} is no tensor")
    return dict(values)


def _positions(values: dict[str, Tensor]) -> dict[str, Tensor]:
    for axis, positions in _tensors(values).items():
        if positions.dim() not in (1, 2) or positions.is_floating_point() or positions.is_complex():
            raise ValueError(f"{axis} has no positions")
        if positions.numel() and int(positions.min()) < 0:
            raise ValueError(f"{axis} has a position before the first")
    return dict(values)


def _edit(module: str, attribute: str, value: Any, path: Sequence[Any] = ()) -> Edit:
    if not isinstance(module, str) or not isinstance(attribute, str):
        raise TypeError("an edit has no name")
    if not isinstance(path, (list, tuple)) or any(type(step) not in (str, int) for step in path):
        raise TypeError("an edit has no place")
    return Edit(module, attribute, value, tuple(path))


def _probe_content(probe: Probe) -> dict[str, Any]:
    outputs = [
        {"shape": list(output.shape), "step": output.step, "samples": output.samples, "largest": output.largest}
        for output in probe.outputs
    ]
    return {
        "inputs": probe.inputs,
        "keywords": dict(probe.keywords),
        "outputs": outputs,
        "reference": probe.reference,
        "device": probe.device,
    }


def _probe(content: Any) -> Probe:
    content = _table("probe", content, tensors=True)
    inputs = content["inputs"]
    if not isinstance(inputs, (list, tuple, type(None))):
        raise TypeError("the inputs of the probe are no list")
    return Probe(
        inputs=None if inputs is None else tuple(inputs),
        keywords=_table("keywords", content["keywords"], tensors=True),
        outputs=tuple(_sampled(_table("output", output, tensors=True)) for output in _list(content["outputs"])),
        reference=_text("reference", content["reference"]),
        device=_text("device", content["device"]),
    )


def _sampled(output: Mapping[str, Any]) -> SampledOutput:
    shape, step, samples, largest = (output[name] for name in ("shape", "step", "samples", "largest"))
    if not all(type(size) is int and 0 <= size < 2**40 for size in (*_list(shape), step)) or step < 1:
        raise ValueError("an output has no shape")
    count = -(-prod(shape) // step)
    if not isinstance(samples, Tensor) or samples.shape != (count,) or samples.layout != torch.strided:
        raise ValueError("the samples of an output aren't those of its shape")
    if type(largest) not in (int, float) or not 0 <= largest < inf:
        raise ValueError("the largest value of an output is no magnitude")
    return SampledOutput(tuple(shape), step, samples, float(largest))


# Plain values, of which a file may claim anything.


def _table(name: str, value: Any, *, tensors: bool = False) -> dict[str, Any]:
    """A dict whose keys are texts and which holds what JSON can; where `tensors`, tensors as well."""
    if not isinstance(value, dict):
        raise TypeError(f"{name} is no table")
    _check_plain(value, (*_PLAIN, Tensor) if tensors else _PLAIN)
    return dict(value)


def _check_plain(value: Any, kinds: tuple[type, ...]) -> None:
    """Raises `TypeError`."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise TypeError("a key is no text")
            left += value.values()
        elif isinstance(value, (list, tuple)):
            left += value
        elif not isinstance(value, kinds):
            raise TypeError(f"a {type(value).__name__} is no plain value")


def _texts(name: str, value: Any) -> dict[str, str]:
    return {key: _text(name, text) for key, text in _table(name, value).items()}


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise TypeError("a list is none")
    return value


# The checksum.


def checksum(value: Any) -> str:
    """The SHA-256 of nested dicts, lists, tuples, tensors, texts and numbers, in hexadecimal digits.

    A list and a tuple of the same items count as equal, and so do dicts in any order. Tensors are read one after the
    other and not copied.

    Raises `TuiPruneError` for a value of another kind.
    """
    digest = hashlib.sha256()
    _add(digest, value)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, dict):
        _add_tagged(digest, b"d", len(value))
        for key in sorted(value):
            _add(digest, key)
            _add(digest, value[key])
    elif isinstance(value, (list, tuple)):
        _add_tagged(digest, b"l", len(value))
        for item in value:
            _add(digest, item)
    elif isinstance(value, Tensor):
        _add(digest, [str(value.dtype), list(value.shape)])
        digest.update(_bytes(value))
    elif value is None or isinstance(value, (bool, int, str, float)):
        text = (value.hex() if isinstance(value, float) else str(value)).encode("utf-8", "surrogatepass")
        _add_tagged(digest, type(value).__name__[:1].encode(), len(text))
        digest.update(text)
    else:
        raise TuiPruneError(f"A value of the type {type(value).__name__} can't stand in a pruned checkpoint.")


def _add_tagged(digest: Any, tag: bytes, length: int) -> None:
    digest.update(tag + struct.pack("<Q", length))


def _bytes(tensor: Tensor) -> memoryview:
    octets: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(octets)
