"""The forms that a network can be exported in: one entry each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.saving.exporting.shapes import Arguments

Runner = Callable[[Arguments], list[Tensor]]
"""Runs what was exported; gives the tensors that the network puts out."""


@dataclass(frozen=True)
class Packed:
    """An export in memory."""

    content: bytes
    opset: int | None = None
    """Of ONNX."""


@dataclass(frozen=True)
class Format:
    """One form of exports."""

    suffix: str
    words: str
    packages: tuple[str, ...]
    """Needed beside torch."""
    pack: Callable[[ExportedProgram, Mapping[str, str], int | None], Packed]
    """Of a program, names for its symbolic sizes, and an opset."""
    open: Callable[[Path], Runner]

    def check_installed(self) -> None:
        """Raise `UsageError` where a package that it needs is missing."""
        missing = [name for name in self.packages if find_spec(name) is None]
        if missing:
            raise UsageError(
                f"An export to {self.suffix} needs {' and '.join(missing)}: pip install {' '.join(self.packages)}"
            )


def format_of(path: Path, name: str | None = None) -> Format:
    """The format of a name, or of the suffix of a file. Raises `UsageError` for another one."""
    if name is not None and name not in FORMATS:
        raise UsageError(f"--format must be one of {', '.join([*FORMATS, 'py', 'transformers'])}; it is {name!r}.")
    for key, form in FORMATS.items():
        if name == key or (name is None and path.suffix.casefold() == form.suffix):
            return form
    endings = " or ".join([*(form.suffix for form in FORMATS.values()), ".py"])
    raise UsageError(
        f"Name a file that ends in {endings}, or say --format {'|'.join([*FORMATS, 'py'])}; it was {path}."
    )


def _pack_pt2(program: ExportedProgram, names: Mapping[str, str], opset: int | None) -> Packed:
    import io

    if opset is not None:
        raise UsageError("--opset is a choice of ONNX; leave it out for pt2.")
    file = io.BytesIO()
    torch.export.save(program, file)
    return Packed(file.getvalue())


def _open_pt2(path: Path) -> Runner:
    with path.open("rb") as file:
        module = torch.export.load(file).module()

    def run(arguments: Arguments) -> list[Tensor]:
        with torch.no_grad():
            outputs = module(*arguments[0], **arguments[1])
        return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]

    return run


_LARGEST_PROTOBUF = 2**31 - 1


def _pack_onnx(program: ExportedProgram, names: Mapping[str, str], opset: int | None) -> Packed:
    weights = sum(tensor.nbytes for tensor in program.state_dict.values())
    if weights >= _LARGEST_PROTOBUF:
        raise TuiPruneError("An ONNX file holds at most 2 GB, and the weights have more. Export to .pt2 instead.")
    made = torch.onnx.export(program, dynamo=True, verbose=False, opset_version=opset)
    if made is None:
        raise TuiPruneError("torch.onnx.export gave no program. Install a newer torch.")
    model = made.model_proto
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in names:
                size.dim_param = names[size.dim_param]
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return Packed(model.SerializeToString(), versions[0] if versions else None)


def _open_onnx(path: Path) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def run(arguments: Arguments) -> list[Tensor]:
        given: list[Any] = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)]
        if len(given) != len(names):
            raise TuiPruneError(f"the exported network takes {len(names)} inputs instead of {len(given)}")
        fed = {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)}
        return [torch.from_numpy(output) for output in session.run(None, fed)]

    return run


FORMATS: dict[str, Format] = {
    "onnx": Format(
        ".onnx",
        "for ONNX Runtime, TensorRT, OpenVINO",
        ("onnx", "onnxscript", "onnxruntime"),
        _pack_onnx,
        _open_onnx,
    ),
    "pt2": Format(".pt2", "a program of torch.export", (), _pack_pt2, _open_pt2),
}
