"""Networks that are hard on a tool, by Python and by the command line: cut exactly, or locked or refused in a sentence
that says why and what to do."""

import copy
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import tui_prune
from tests import hostile_nets
from tests.exactness import Kept, Reference, largest_error, prune_exactly, randomise_norms, trains, widths
from tests.small_nets import IMAGES, ROWS
from tui_prune.cli.main import app
from tui_prune.loading.input_spec import make_example_inputs
from tui_prune.session.session import Session

FILE = Path(hostile_nets.__file__)
IMAGES_SPEC, ROWS_SPEC = (",".join(map(str, shape)) for shape in (IMAGES, ROWS))
FIXED_SIZE = "the model's code fixes this size"
FIXED_VALUES = "meets values of a fixed size that no layer puts out"
UNUSED = "the forward pass doesn't use it"


pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


@dataclass(frozen=True)
class Hostile:
    """A factory of `hostile_nets`, and what becomes of it when half is to be cut."""

    name: str
    after: dict[str, int] = field(default_factory=dict)
    """Widths of the layers that are cut; all others keep theirs."""
    locks: tuple[tuple[str, str, str | None], ...] = ()
    """Layer, reason, and a part of the line of code, besides model outputs."""
    spec: str = IMAGES_SPEC
    reference: Reference | None = None
    plain: bool = True
    """Whether it is of ordinary numbers and parts that can be copied, so that it can be held to a masked original."""

    def build(self) -> nn.Module:
        return randomise_norms(getattr(hostile_nets, self.name)())

    def inputs(self, model: nn.Module) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Those that the command line makes, too."""
        formats = {parameter.dtype for parameter in model.parameters()}
        return make_example_inputs(self.spec, dtype=formats.pop() if len(formats) == 1 else torch.float32)


def zero_rows(layer: str) -> Reference:
    """Cut outputs of a layer are zero: something other than a layer reads them, or a norm of the weight counts them."""

    def change(masked: Any, kept: Kept) -> None:
        for name, tensor in masked.get_submodule(layer).named_parameters():
            rows = kept.get(f"{layer}.{name}/0")
            if rows is not None:
                tensor.data.copy_(torch.zeros_like(tensor).index_copy(0, rows, tensor[rows]))

    return change


def symmetric_weight(masked: Any, kept: Kept) -> None:
    """Half of a symmetric weight is never read: what is left of the other half is the kept rows and columns."""
    weight, rows = masked.get_submodule("2.parametrizations.weight").original.data, kept["0.weight/0"]
    assert torch.equal(rows, kept["2.parametrizations.weight.original/0"])
    weight.copy_(weight * torch.zeros(16).index_fill(0, rows, 1)[:, None])


def zero_columns(layer: str) -> Reference:
    """What a buffer reads of a cut channel is zero."""

    def change(masked: Any, kept: Kept) -> None:
        weight, columns = masked.get_submodule(layer).weight, kept[f"{layer}.weight/1"]
        weight.copy_(torch.zeros_like(weight).index_copy(1, columns, weight[:, columns]))

    return change


CUT_CHAIN = {"0": 8, "3": 8}
BOTH_OUTPUTS = {"a": 8}

CUT = [
    Hostile("TwoNames", {"a": 8, "b": 8}),
    Hostile("TiedWithOwnBiases", {"a": 8, "b": 8, "c": 8}),
    Hostile("TiedDepthwise", {"a": 8, "b": 8, "c": 8}),
    Hostile("TiedTransposed", {"a": 8, "b": 6}, spec=ROWS_SPEC, reference=zero_rows("b")),
    Hostile("in_an_object", BOTH_OUTPUTS, plain=False),
    Hostile("in_slots", BOTH_OUTPUTS, plain=False),
    Hostile("as_a_distribution", BOTH_OUTPUTS, plain=False),
    Hostile("beside_nothing", {"a": 8, "b": 6}),
    Hostile("OptionalInput", {"a": 8, "b": 8}, spec="2,3,8,8;2,4,8,8"),
    Hostile("KeywordOnly", {"a": 8, "b": 8}, spec="2,3,8,8;depth=2,4,8,8"),
    Hostile("ChangedInput", {"a": 8}, plain=False),
    Hostile("compiled", CUT_CHAIN, plain=False),
    Hostile("compiled_in_place", CUT_CHAIN),
    Hostile("compiled_part", {"0": 8, "1._orig_mod.0": 8}, plain=False),
    Hostile("CompiledMethod", {"a": 8}, plain=False),
    Hostile("ScriptedFunction", {"a": 8}, plain=False),
    Hostile("symbolically_traced", CUT_CHAIN),
    Hostile("symmetric", {"0": 8, "2": 8}, spec=ROWS_SPEC, reference=symmetric_weight),
    Hostile("weight_norm_by_columns", {"0": 8, "2": 6}),
    Hostile("weight_norm_over_all", {"0": 8, "2": 6}),
    Hostile("with_masks", CUT_CHAIN),
    Hostile("WeightInABuffer", {"a": 8, "b": 6}, reference=zero_columns("b")),
    Hostile("MaximumNorm", {"a": 8, "b": 8}, plain=False),
    Hostile("Clamped", {"a": 8}),
    Hostile("lstm_cell", {"a": 8, "cell": 24, "b": 10}, spec=ROWS_SPEC),
    Hostile("gru_cell", {"a": 8, "cell": 18, "b": 10}, spec=ROWS_SPEC),
    Hostile("rnn_cell", {"a": 8, "cell": 6, "b": 10}, spec=ROWS_SPEC),
    Hostile("PackedSequence", {"a": 8, "cells": 24, "b": 10}, spec=ROWS_SPEC),
    Hostile("ComplexOutput", {"a": 8, "b": 8}, plain=False),
    Hostile("Remembers", {"a": 8}),
    Hostile("HoldsWhatCannotBeCopied", {"a": 8}, plain=False),
    Hostile("in_bfloat16", CUT_CHAIN),
    Hostile("in_float16", CUT_CHAIN),
    Hostile("HalfInside", {"net.0": 8, "net.3": 8}, plain=False),
    Hostile("Autocast", {"net.0": 8, "net.3": 8}, plain=False),
    Hostile("in_one_flat_buffer", CUT_CHAIN),
]
LOCKED = [
    Hostile("AssertedWidth", locks=(("a", FIXED_SIZE, "assert y.shape[1] == 16"),)),
    Hostile("ExitAtAnotherWidth", locks=(("a", FIXED_SIZE, 'sys.exit("a script that gives up")'),)),
    Hostile("ConstantOfTheWidth", locks=(("a", FIXED_VALUES, "torch.arange(y.shape[1])"),)),
    Hostile("Noise", locks=(("a", FIXED_VALUES, "torch.randn(1, 16, 1, 1)"),), plain=False),
    Hostile("FixedKernel", locks=(("a", FIXED_VALUES, "F.conv2d(y, self.blur, padding=1, groups=16)"),)),
    Hostile("ThroughNumpy", locks=(("a", FIXED_SIZE, "self.out(self.between(self.a(x)))"),)),
    Hostile("NeverUsed", {"a": 8}, (("gamma", UNUSED, None), ("never.0", UNUSED, None), ("never.1", UNUSED, None))),
    Hostile("in_numpy", {"a": 8}, (("b", "a cut here changes the result (found by trying)", None),), plain=False),
]

FAILS = r"^The model's forward pass fails on the example input at hostile_nets\.py:\d+: "
INPUT = r"Give it an input of the right shape \(--input\), or mend the model\.$"
SCRIPT = (
    r"is a TorchScript module, whose code is fixed to its shapes\. Open the Python network that it was made from\.$"
)
WATCHES = r"watches values to quantise them\. Prune the float network before it is prepared for that\.$"
REFUSED = {
    "scripted": rf"^This RecursiveScriptModule can't be pruned: it {SCRIPT}",
    "exported": r"^This GraphModule can't be pruned: it is a module of torch\.export, whose code is fixed",
    "quantised": r"its part '0' is quantised\. Prune the float network, then quantise\.$",
    "prepared_to_quantise": rf"its part '0\.activation_post_process' {WATCHES}",
    "training_to_quantise": rf"its part '0' {WATCHES}",
    "on_meta": r"0\.weight is on the meta device, so it has no values\. Build the network on the CPU or a GPU",
    "with_a_part_on_meta": r"3\.weight is on the meta device, so it has no values\.",
    "lazy": r"0\.weight has no shape yet\. Run the network once first\.$",
    "MadeInTheForwardPass": r"^The network makes its part out in the forward pass\. Run it once on an input, then",
    "SparseBuffer": r"mix is a sparse tensor\. Make it dense first: to_dense\(\)\.$",
    "Raises": rf'{FAILS}raise ValueError.* \(ValueError: this network never runs\)\. {INPUT}',
    "Exits": rf"{FAILS}raise SystemExit.* \(SystemExit: this network quits\)\. {INPUT}",
    "Asserts": rf"{FAILS}assert y\.shape\[-1\] == 32 \(AssertionError\)\. {INPUT}",
    "KeywordOnly": r'\(TypeError: .*depth.*\)\. Its inputs are \(image, depth\): give the shape of each, as in --',
    "Yielded": r"^The network's forward pass takes or returns a generator, which can be read only once\. Let it be a l",
    "as_nothing": r"^The network's forward pass returns a NoneType without a tensor in it, .* Let it return its te",
}  # fmt: skip


@pytest.mark.parametrize("hostile", [*CUT, *LOCKED], ids=lambda hostile: hostile.name)
def test_in_python(hostile: Hostile) -> None:
    model = hostile.build()
    inputs, kwargs = hostile.inputs(model)
    if hostile.plain:
        result = prune_exactly(model.eval(), inputs, kwargs=kwargs, reference=hostile.reference)
    else:
        result = tui_prune.prune(model, inputs, example_kwargs=kwargs, ratio=0.5)
    assert {name: after for name, (before, after) in widths(result).items() if after != before} == hostile.after
    assert result.report.equivalence.kind == "exact"
    locks = [lock for lock in result.report.locks if not lock["reason"].startswith("model output")]
    assert [(lock["layer"], lock["reason"]) for lock in locks] == [
        (layer, reason) for layer, reason, _ in hostile.locks
    ]
    for lock, (_, _, line) in zip(locks, hostile.locks, strict=True):
        assert line is None or (
            lock["where"].startswith(("hostile_nets.py:", "small_nets.py:")) and line in lock["where"]
        )


@pytest.mark.parametrize("hostile", [*CUT, *LOCKED], ids=lambda hostile: hostile.name)
def test_on_the_command_line(hostile: Hostile, tmp_path: Path) -> None:
    """Cut, written, and verified by a stranger who builds the network anew."""
    spec, out = f"{FILE}:{hostile.name}", tmp_path / "pruned.pt"
    done = call("prune", spec, "-o", out, "--ratio", "0.5", "--input", hostile.spec)
    assert done.exit_code == 0, done.output
    for layer, width in hostile.after.items():
        assert any(line.split()[0] == layer and str(width) in line.split() for line in done.stdout.splitlines() if line)
    for _, reason, line in hostile.locks:
        assert reason in done.stdout
        assert line is None or line in done.stdout
    verified = call("verify", out, "--model", spec)
    assert verified.exit_code == 0, verified.output


@pytest.mark.parametrize(("name", "sentence"), REFUSED.items(), ids=list(REFUSED))
def test_what_cannot_be_pruned_is_refused_in_a_sentence(name: str, sentence: str, tmp_path: Path) -> None:
    spec = ROWS_SPEC if name == "quantised" else IMAGES_SPEC
    (example,), _ = make_example_inputs(spec)
    for use in (tui_prune.prune, tui_prune.trace):
        with pytest.raises(tui_prune.TuiPruneError, match=sentence):
            use(getattr(hostile_nets, name)(), example)
    done = call("prune", f"{FILE}:{name}", "-o", tmp_path / "pruned.pt", "--ratio", "0.5", "--input", spec)
    assert done.exit_code == 1
    assert not list(tmp_path.iterdir())
    assert re.search(sentence, done.stderr.strip())


def call(*arguments: str | Path) -> Any:
    return CliRunner().invoke(
        app, [str(argument) for argument in arguments], prog_name="tui-prune", catch_exceptions=False
    )


# What else a user would notice of them.


def test_what_the_forward_pass_remembers_is_forgotten_again() -> None:
    model = hostile_nets.Remembers()
    seen, by_name = model.seen, model.by_name
    result = tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5)
    for either in (model, result.model):
        assert (either.last, either.count, either.seen, either.by_name) == (None, 0, [], {"shapes": [(1, 2)]})
        assert not hasattr(either, "new")
    assert model.seen is seen
    assert model.by_name is by_name


@pytest.mark.parametrize("build", [hostile_nets.MaximumNorm, hostile_nets.Clamped, hostile_nets.in_one_flat_buffer])
def test_weights_that_a_forward_pass_changes_are_as_before(build: type[nn.Module]) -> None:
    model = build()
    before = {name: (p, p.data_ptr(), p.detach().clone()) for name, p in model.named_parameters()}
    tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5)
    tui_prune.trace(model, torch.randn(IMAGES))
    for name, parameter in model.named_parameters():
        object_before, memory, values = before[name]
        assert parameter is object_before
        assert parameter.data_ptr() == memory
        assert torch.equal(parameter, values)


def test_weights_are_as_before_when_a_forward_pass_changes_one_and_fails() -> None:
    class Fails(hostile_nets.Clamped):
        def between(self, y: Tensor) -> Tensor:
            super().between(y)
            raise ValueError

    model = Fails()
    before = model.out.weight.detach().clone()
    with pytest.raises(tui_prune.TuiPruneError):
        tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5)
    assert torch.equal(model.out.weight, before)


def test_a_buffer_that_the_forward_pass_resizes_is_as_before() -> None:
    class Resizes(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(*hostile_nets.chain())
            self.register_buffer("seen", torch.zeros(0))

        def forward(self, x: Tensor) -> Tensor:
            self.seen.resize_(4).fill_(1)
            return super().forward(x)

    model = Resizes()
    tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5)
    assert model.seen.shape == (0,)


def test_inputs_that_the_forward_pass_writes_over_are_as_before() -> None:
    image = torch.randn(IMAGES)
    before = image.clone()
    result = tui_prune.prune(hostile_nets.ChangedInput(), image, ratio=0.5)
    assert torch.equal(image, before)
    assert result.report.equivalence.max_error < 1e-6


@pytest.mark.parametrize("copied", [True, False], ids=["copied", "refuses to be copied"])
def test_a_dictionary_of_a_class_of_its_own_goes_in_as_it_is(copied: bool) -> None:
    class Batch(dict):
        def __getattr__(self, name: str) -> Any:
            return self[name]

        def __reduce_ex__(self, protocol: Any) -> Any:
            return super().__reduce_ex__(protocol) if copied else self.no_such_item

    class Reads(hostile_nets.TwoInputs):
        def forward(self, batch: Batch) -> Tensor:
            return super().forward(batch.image, batch.depth)

    batch = Batch(image=torch.randn(2, 3, 8, 8), depth=torch.randn(2, 4, 8, 8))
    assert widths(tui_prune.prune(Reads(), batch, ratio=0.5))["a"] == (16, 8)


@torch.no_grad()
def test_objects_that_modules_keep_come_out_as_they_are() -> None:
    class Setting:
        def __init__(self, number: int) -> None:
            self.number = number

    class Keeps(hostile_nets.TwoInputs):
        """As detectors keep the scales of their images, and an object that works with them."""

        def __init__(self) -> None:
            super().__init__()
            self.kept = nn.ModuleList(nn.Identity() for _ in range(300))
            for number, module in enumerate(self.kept):
                module.scales = [number, number]
                module.setting = Setting(number)

    inputs = torch.randn(1, 3, 8, 8), torch.randn(1, 4, 8, 8)
    cut = tui_prune.prune(Keeps().eval(), inputs, ratio=0.5).model
    assert [module.scales for module in cut.kept] == [[number, number] for number in range(300)]
    assert [vars(module.setting) for module in cut.kept] == [{"number": number} for number in range(300)]


def test_a_compiled_network_becomes_the_cut_one_in_place() -> None:
    model = torch.compile(hostile_nets.chain().eval(), backend="eager")
    image = torch.randn(IMAGES)
    expected = tui_prune.prune(model, image, ratio=0.5).model(image)
    result = tui_prune.prune(model, image, ratio=0.5, inplace=True)
    assert result.model is model
    assert largest_error(model(image), expected) < 1e-6


def test_a_network_with_a_scripted_function_still_runs() -> None:
    result = tui_prune.prune(hostile_nets.ScriptedFunction(), torch.randn(IMAGES), ratio=0.5)
    assert result.model(torch.randn(IMAGES)).shape == (2, 8, 8, 8)


# Shared weights.


def test_each_of_two_layers_with_one_weight_has_a_row_and_its_own_costs() -> None:
    model = hostile_nets.TiedWithOwnBiases()
    plan = tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5).plan
    rows = {layer.name: layer for layer in plan.layers}
    assert list(rows) == ["a", "b", "c", "out"]
    assert (rows["c"].kind, rows["c"].before, rows["c"].after) == ("conv 1x1", 16, 8)
    assert rows["c"].note == "shares its weight with b"
    assert rows["b"].macs == rows["c"].macs
    assert (rows["b"].params.before, rows["c"].params.before) == (16 * 16 + 16, 16)
    assert sum(layer.params.after for layer in plan.layers) == plan.after.params
    assert sum(layer.macs.after for layer in plan.layers) == plan.after.macs


def test_an_output_layer_that_shares_its_weight_with_an_embedding_has_its_own_row() -> None:
    from tests.small_nets import TiedEmbedding

    result = tui_prune.prune(TiedEmbedding(), torch.tensor([[1, 2, 3]]), ratio=0.5)
    assert widths(result) == {"a": (16, 8), "b": (16, 8), "out": (20, 20)}
    assert result.plan.layer("out").kind == "linear"
    assert result.plan.layer("out").locked == "rows are looked up by their number"


def test_a_layer_under_two_names_answers_to_both() -> None:
    model = hostile_nets.TwoNames()
    graph = tui_prune.trace(model, torch.randn(IMAGES))
    plan = tui_prune.plan(graph, ratio=0.5)
    assert [layer.name for layer in plan.layers] == ["a", "b", "norm", "out"]
    assert Session.open(f"{FILE}:TwoNames", input_spec=IMAGES_SPEC).details("c").weights.numel() == 256
    assert plan.layer("c") is plan.layer("b")
    assert plan.layer("norm_c") is plan.layer("norm")
    for name in ("c", "norm_c", "c*"):
        assert tui_prune.plan(graph, layers={name: 0.25}).layer("b").after == 12, name
        assert tui_prune.plan(graph, ratio=0.5, lock=(name,)).layer("b").after == 16, name


# Number formats and memory.


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("in_bfloat16", "float32"),
        ("in_float16", "float32"),
        ("HalfInside", "bfloat16"),
        ("Autocast", "bfloat16"),
        ("chain", "float32"),
    ],
)
def test_the_report_says_in_which_numbers_it_was_checked(name: str, precision: str) -> None:
    hostile = Hostile(name)
    model = hostile.build()
    result = tui_prune.prune(model, hostile.inputs(model)[0], ratio=0.5)
    assert result.report.equivalence.precision == precision
    assert result.report["equivalence"]["precision"] == precision
    assert math.isclose(result.report.equivalence.max_error, 0, abs_tol=1e-6 if precision == "float32" else 0.1)


def test_half_precision_hides_no_wrong_cut() -> None:
    """A channel in the wrong place that changes the output by less than bfloat16 rounds is found all the same."""

    class Swaps(hostile_nets.Ends):
        def __init__(self) -> None:
            super().__init__()
            self.b = nn.Conv2d(3, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            width = self.a.weight.shape[0]
            return self.b(x) + (0.01 if width == 16 else 0.0) + 1e-3 * self.out(self.a(x))

    model = Swaps().bfloat16()
    result = tui_prune.prune(model, torch.randn(IMAGES).bfloat16(), ratio=0.5)
    assert widths(result)["a"] == (16, 16)
    assert ("a", "a cut here changes the result (found by trying)") in [
        (lock["layer"], lock["reason"]) for lock in result.report.locks
    ]


def test_a_part_of_a_flat_buffer_is_saved_without_the_rest(tmp_path: Path) -> None:
    model = hostile_nets.in_one_flat_buffer()
    result = tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5, lock=("3",))
    path = tui_prune.save(tmp_path / "flat.pt", result)
    plain = tui_prune.prune(copy.deepcopy(model), torch.randn(IMAGES), ratio=0.5, lock=("3",))
    assert path.stat().st_size == tui_prune.save(tmp_path / "plain.pt", plain).stat().st_size
    memories = [parameter.untyped_storage() for parameter in result.model.parameters()]
    assert len({memory.data_ptr() for memory in memories}) == len(memories)
    assert all(m.nbytes() == 4 * p.numel() for m, p in zip(memories, result.model.parameters(), strict=True))
    trains(result.model, torch.randn(IMAGES))


def test_near_ties_that_rounding_decides_lock_nothing() -> None:
    """Which of two near scores is larger may differ between a masked and a cut network; in float64 it doesn't."""

    class NearTies(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(16, 64)
            self.b = nn.Linear(64, 1, bias=False)
            self.scales = nn.Parameter(self.b.weight.detach()[0].clone())

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.a(x)
            one, other = self.b(hidden)[:, 0], (hidden * self.scales).sum(1)
            return torch.where(one - other + 1e-9 > 0, 1.0, -1.0) + one

    torch.manual_seed(0)
    result = tui_prune.prune(NearTies(), torch.randn(512, 16), ratio=0.5)
    assert widths(result)["a"] == (64, 32)
    assert result.report.equivalence.kind == "exact"
