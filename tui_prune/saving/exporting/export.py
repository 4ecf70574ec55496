"""Export a pruned checkpoint, and compare what was written with its network."""

import contextlib
import io
import logging
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tui_prune.archives.pruned_file import Checkpoint, read_checkpoint
from tui_prune.errors import TuiPruneError
from tui_prune.graph.nested import map_tensors
from tui_prune.graph.trace import evaluating
from tui_prune.loading.building import build
from tui_prune.loading.load_pruned import load_pruned
from tui_prune.progress import Progress, silent
from tui_prune.saving.exporting import python_file, transformers_folder
from tui_prune.saving.exporting.formats import Format, Packed, Runner, format_of
from tui_prune.saving.exporting.python_file import check_files, check_origin, write_python
from tui_prune.saving.exporting.shapes import Arguments, Variable, shape_words, variables
from tui_prune.saving.exporting.transformers_folder import check_folder, write_folder
from tui_prune.saving.probe import probe_arguments, relative_error, sampled
from tui_prune.saving.whole_file import WatchedFile, check_target, write_whole
from tui_prune.surgery.verify import TOLERANCES

_PIECE = 2**22
"""Bytes that are written at one time."""
_LONGEST = 60.0
"""Seconds for tracing with open image sizes, which takes minutes where a network's code asks for sizes very often."""
_PASSES = 9
_TIMED_FOR = 2.0
"""Seconds after which no further pass is timed."""
_USUAL_TOLERANCE = 1e-4


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and how it compares with the network."""

    output: str
    format: str
    opset: int | None
    """Of ONNX."""
    batch: bool
    """Whether it takes batches of any size."""
    sizes: bool
    """Whether it takes images (sequences, signals) of other sizes."""
    bytes: int
    compared: tuple[tuple[str, float], ...]
    """The shapes of the inputs that were run, and how far the outputs differ: relative to their largest."""
    seconds: tuple[float, float]
    """Of one forward pass on the example input: of the network in PyTorch, and of the export."""
    weights: str | None = None
    """The file of the weights beside a Python file."""
    changes: tuple[str, ...] = ()
    """Numbers that a configuration of transformers has now: "intermediate_size 3072 → 1536"."""

    @property
    def max_error(self) -> float:
        """The largest of the differences."""
        return max(error for _, error in self.compared)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "output": self.output,
            "format": self.format,
            "opset": self.opset,
            "dynamic": {"batch": self.batch, "size": self.sizes},
            "bytes": self.bytes,
            "max_error": self.max_error,
            "compared": [{"input": shapes, "error": error} for shapes, error in self.compared],
            "seconds": {"network": self.seconds[0], "export": self.seconds[1]},
            **({"weights": self.weights} if self.weights else {}),
            **({"config": list(self.changes)} if self.changes else {}),
        }


def export(
    source: str | Path,
    output: str | Path,
    *,
    model: nn.Module | Callable[[], nn.Module] | None = None,
    format: str | None = None,
    input_spec: str | None = None,
    opset: int | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> ExportReport:
    """Export a pruned checkpoint as ONNX, a program of torch.export or a Python file, and compare it with its network.

    The batch size stays open where the network allows it, and so does the size of its images. What was written is
    run, in ONNX Runtime or as the exported program, on two batch sizes and on another image size; only then does the
    file take its place.

    Args:
        source: The pruned checkpoint.
        output: The file to write.
        model: A fresh network of your own (it is cut in place), or a function that makes one.
        format: "onnx", "pt2", "py" for a Python file with its weights beside it, or "transformers" for a folder that
            `from_pretrained` reads. None: what the suffix of `output` says.
        input_spec: The shape of an input, such as "1,3,224,224". None: what the checkpoint remembers.
        opset: Of ONNX. None: torch's own choice.
        force: Replace `output` if it exists.
        progress: Told how far it is; may raise `Cancelled` to stop.

    Returns:
        What was written, with sizes, seconds and the largest difference.

    Raises:
        UsageError: There is no such file or format, or a package is missing.
        TuiPruneError: The network can't be exported, or the export gives other numbers. Nothing was written.
    """
    form = _form(Path(output), format, force=force)
    progress("load", 0.0)
    checkpoint = read_checkpoint(source)
    if form == python_file.NAME:
        check_origin(checkpoint.origin)
    make = model if callable(model) and not isinstance(model, nn.Module) else None
    network = load_pruned(checkpoint, make() if make is not None else model)  # type: ignore[arg-type]
    return export_network(
        checkpoint,
        network,
        output,
        format=format,
        input_spec=input_spec,
        opset=opset,
        force=force,
        uncut=lambda: _uncut(checkpoint, make),
        progress=progress,
    )


def export_network(
    checkpoint: Checkpoint,
    network: nn.Module,
    output: str | Path,
    *,
    format: str | None = None,
    input_spec: str | None = None,
    opset: int | None = None,
    force: bool = False,
    uncut: Callable[[], nn.Module | None] = lambda: None,
    progress: Progress = silent,
) -> ExportReport:
    """As `export`, of a network on the CPU that is there already; `checkpoint` is what would be saved of it. `uncut`
    makes the original, to tell whose fault it is where the network can't be exported."""
    target = Path(output)
    form = _form(target, format, force=force)
    if form == python_file.NAME:
        check_origin(checkpoint.origin)
        return _as_code(checkpoint, network, output, input_spec, force=force, progress=progress)
    if form == transformers_folder.NAME:
        return _as_folder(checkpoint, network, output, force=force, progress=progress)
    assert isinstance(form, Format)
    arguments = probe_arguments(checkpoint, input_spec)
    found: list[tuple[Runner, tuple[tuple[str, float], ...]]] = []
    with evaluating(network), _quiet():
        for exported in _exports(network, arguments, form, opset, progress, uncut):

            def check(part: Path, way: Variable = exported.way) -> None:
                progress("compare", 0.7)
                run = form.open(part)
                found.append((run, _compared(network, run, way)))
                progress("compare", 0.9)

            try:
                write_whole(target, partial(_write, exported.packed.content), check, force=force)
                break
            except _Differs as error:
                failure = error
        else:
            raise failure
        (run, compared) = found[0]
        seconds = _seconds(lambda: _outputs(network, arguments)), _seconds(lambda: run(arguments))
    progress("export", 1.0)
    return ExportReport(
        output=str(output),
        format=form.suffix.removeprefix("."),
        opset=exported.packed.opset,
        batch=exported.way.batch,
        sizes=bool(exported.way.axes),
        bytes=len(exported.packed.content),
        compared=compared,
        seconds=seconds,
    )


def _form(target: Path, format: str | None, *, force: bool) -> Format | str:
    """The form of an export: an entry of `FORMATS`, or the name of one that isn't a program. Raises `UsageError` for
    another one, and where a package is missing, `TuiPruneError` where the target can't be written."""
    if format == python_file.NAME or (format is None and target.suffix.casefold() == python_file.SUFFIX):
        check_files(target, force=force)
        return python_file.NAME
    if format == transformers_folder.NAME:
        check_folder(target, force=force)
        return transformers_folder.NAME
    form = format_of(target, format)
    form.check_installed()
    check_target(target, force=force)
    return form


def _as_code(
    checkpoint: Checkpoint,
    network: nn.Module,
    output: str | Path,
    input_spec: str | None,
    *,
    force: bool,
    progress: Progress,
) -> ExportReport:
    arguments = probe_arguments(checkpoint, input_spec)
    with evaluating(network), _quiet():
        ways = variables(arguments, lambda some: _runs(network, some))
        compared, found = ways[0].compared, list[tuple[str, float]]()

        def check(outputs: tuple[tuple[Tensor, ...], ...]) -> None:
            made = iter(outputs)
            found.extend(_compared(network, lambda some: list(next(made)), ways[0]))

        file = write_python(checkpoint, network, Path(output), compared, check, force=force, progress=progress)
        spent = _seconds(lambda: _outputs(network, arguments))  # the same code runs both
    progress("export", 1.0)
    return ExportReport(
        output=str(output),
        format=python_file.NAME,
        opset=None,
        batch=ways[0].batch,
        sizes=bool(ways[0].axes),
        bytes=file.bytes,
        compared=tuple(found),
        seconds=(spent, spent),
        weights=str(file.weights),
    )


def _as_folder(
    checkpoint: Checkpoint, network: nn.Module, output: str | Path, *, force: bool, progress: Progress
) -> ExportReport:
    arguments = probe_arguments(checkpoint)
    with evaluating(network), _quiet():
        folder = write_folder(checkpoint, network, Path(output), force=force, progress=progress)
        spent = _seconds(lambda: _outputs(network, arguments))  # the same code runs both
    progress("export", 1.0)
    return ExportReport(
        output=str(output),
        format=transformers_folder.NAME,
        opset=None,
        batch=True,
        sizes=True,
        bytes=folder.bytes,
        compared=((shape_words(arguments), folder.max_error),),
        seconds=(spent, spent),
        changes=folder.changes,
    )


def _write(content: bytes, file: WatchedFile) -> None:
    for place in range(0, len(content), _PIECE):
        file.write(content[place : place + _PIECE])


@dataclass(frozen=True, eq=False)
class _Exported:
    packed: Packed
    way: Variable


class _Differs(TuiPruneError):
    """An export that gives other numbers than its network, or doesn't run."""


def _exports(
    network: nn.Module,
    arguments: Arguments,
    form: Format,
    opset: int | None,
    progress: Progress,
    uncut: Callable[[], nn.Module | None],
) -> Iterator[_Exported]:
    """The exports that can be made; that in which the most sizes vary comes first.

    Raises `TuiPruneError` where there is none, with the cause.
    """
    failure: Exception | None = None
    made = False
    ways = variables(arguments, lambda some: _runs(network, some))
    for number, way in enumerate(ways):
        progress("export", 0.1 + 0.3 * number / len(ways))
        try:
            with _stoppable(progress, _LONGEST if way.axes else math.inf):
                program, names = _program(network, way)
            progress("convert", 0.4)
            packed = form.pack(program, names, opset)
        except TuiPruneError:
            raise
        except (_FixedSize, _TooSlow):
            continue
        except Exception as error:  # tracing runs the network's own code
            failure = error
            continue
        made = True
        yield _Exported(packed, way)
    if not made:
        raise TuiPruneError(_cause(failure, arguments, form, uncut)) from failure


class _FixedSize(Exception):
    """A size that should vary was built into the program."""


class _TooSlow(Exception):
    """Tracing takes longer than it may."""


@contextlib.contextmanager
def _stoppable(progress: Progress, seconds: float) -> Iterator[None]:
    """Let `progress` stop the forward pass that is traced in the block, and end it after some seconds."""
    thread, end = threading.get_ident(), time.monotonic() + seconds

    def check(module: nn.Module, inputs: object) -> None:
        if threading.get_ident() == thread:
            progress("export", 0.2)
            if time.monotonic() > end:
                raise _TooSlow

    hook = nn.modules.module.register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        hook.remove()


def _program(network: nn.Module, way: Variable) -> tuple[torch.export.ExportedProgram, dict[str, str]]:
    """The program of torch.export, and names for the symbols of its sizes."""
    auto = getattr(torch.export.Dim, "AUTO", None)
    if auto is None:
        raise TuiPruneError(f"Exports need torch 2.6 or newer; this is {torch.__version__}.")
    args, kwargs = map_tensors(way.arguments, Tensor.clone)
    shapes = torch.export.ShapesCollection()
    wanted: list[dict[int, str]] = []
    listed = any(isinstance(value, (list, tuple)) for value in args)
    for tensor in (leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)):
        wanted.append(way.dims(tensor, listed=listed))
        if wanted[-1]:
            shapes[tensor] = dict.fromkeys(wanted[-1], auto)
    dynamic = shapes if any(wanted) else None
    program = torch.export.export(network, args, kwargs, dynamic_shapes=dynamic, strict=False)
    names = _names(program, wanted)
    module = program.module()
    for some in way.compared:
        args, kwargs = map_tensors(some, Tensor.clone)
        module(*args, **kwargs)  # raises where a size is fixed after all
    return program, names


def _names(program: torch.export.ExportedProgram, wanted: list[dict[int, str]]) -> dict[str, str]:
    inputs = set(program.graph_signature.user_inputs)
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    tensors = [value for value in values if isinstance(value, Tensor)]
    names: dict[str, str] = {}
    for tensor, dims in zip(tensors, wanted, strict=True):
        for dim, name in dims.items():
            size = tensor.shape[dim]
            if not isinstance(size, torch.SymInt):
                raise _FixedSize
            names.setdefault(str(size), name)
    return names


def _runs(network: nn.Module, arguments: Arguments) -> bool:
    try:
        outputs = _outputs(network, arguments)
    except Exception:  # the network's own code
        return False
    return all(bool(output.isfinite().all()) for output in outputs if output.is_floating_point())


def _outputs(network: nn.Module, arguments: Arguments) -> list[Tensor]:
    args, kwargs = map_tensors(arguments, Tensor.clone)
    return [leaf for leaf in tree_leaves(network(*args, **kwargs)) if isinstance(leaf, Tensor)]


def _compared(network: nn.Module, run: Runner, way: Variable) -> tuple[tuple[str, float], ...]:
    """The relative differences for all sizes that have to fit. Raises `TuiPruneError` where they are too large."""
    found = []
    for arguments in way.compared:
        expected = [output for output in _outputs(network, arguments) if output.is_floating_point()]
        try:
            outputs = run(map_tensors(arguments, Tensor.clone))
        except Exception as error:  # a runtime that doesn't know an operator
            raise _Differs(f"What was exported doesn't run: {_first_line(error)}. Nothing was written.") from error
        floating = [output for output in outputs if output.is_floating_point()]
        difference = relative_error([sampled(output) for output in expected], floating)
        limit = max((TOLERANCES.get(output.dtype, _USUAL_TOLERANCE) for output in expected), default=0.0)
        shapes = shape_words(arguments)
        if difference > limit:
            raise _Differs(
                f"What was exported gives other numbers than the network on inputs of {shapes}: they differ by "
                f"{difference:.1e} of the largest, and {limit:.0e} is rounding. Nothing was written."
            )
        found.append((shapes, difference))
    return tuple(found)


def _seconds(run: Callable[[], object]) -> float:
    """The median of some passes."""
    run()
    found: list[float] = []
    started = time.perf_counter()
    while len(found) < _PASSES and (not found or time.perf_counter() - started < _TIMED_FOR):
        before = time.perf_counter()
        run()
        found.append(time.perf_counter() - before)
    return median(found)


def _uncut(checkpoint: Checkpoint, make: Callable[[], nn.Module] | None) -> nn.Module | None:
    if checkpoint.origin.buildable:
        return build(checkpoint.origin)
    return None if make is None else make()


def _cause(failure: Exception | None, arguments: Arguments, form: Format, uncut: Callable[[], nn.Module | None]) -> str:
    """Why there is no export: whether the original has one."""
    said = f"({_first_line(failure)})" if failure is not None else ""
    with contextlib.suppress(Exception):
        original = uncut()
        if original is not None:
            with evaluating(original):
                try:
                    fixed = variables(arguments, lambda some: False)[-1]
                    form.pack(_program(original, fixed)[0], {}, None)
                except Exception as error:
                    return (
                        f"The original network can't be exported to {form.suffix} either ({_first_line(error)}), so "
                        "it isn't the cut. Nothing was written."
                    )
            return (
                f"The cut network can't be exported to {form.suffix} {said}, though its original can. "
                "Nothing was written."
            )
    return f"The network can't be exported to {form.suffix} {said}. Nothing was written."


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what exporters print and warn of away from the screen; what fails is raised."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
