"""Networks that are hard on a tool: each a factory without arguments, the same kind of file that a user would bring.

All but a few see images of 3x8x8; layers are called as in `small_nets`.
"""

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize, prune
from torch.nn.utils.parametrizations import weight_norm

from tests.small_nets import Ends, Outputs, TwoInputs, conv


def chain() -> nn.Sequential:
    return nn.Sequential(conv(3, 16), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 16), nn.ReLU(), conv(16, 8))


# Sizes and constants in the code.


class AssertedWidth(Ends):
    def between(self, y: Tensor) -> Tensor:
        assert y.shape[1] == 16
        return y


class ExitAtAnotherWidth(Ends):
    def between(self, y: Tensor) -> Tensor:
        if y.shape[1] != 16:
            sys.exit("a script that gives up")
        return y


class ConstantOfTheWidth(Ends):
    """As many numbers as there are channels: other ones at another width."""

    def between(self, y: Tensor) -> Tensor:
        return y + torch.arange(y.shape[1]).view(1, -1, 1, 1)


class Noise(Ends):
    def between(self, y: Tensor) -> Tensor:
        return y + torch.randn(1, 16, 1, 1)


class ThroughNumpy(Ends):
    def between(self, y: Tensor) -> Tensor:
        return torch.from_numpy(2 * y.detach().numpy())


# Shared layers and weights.


class TwoNames(Ends):
    """One convolution and one norm under two names each, used by both."""

    def __init__(self) -> None:
        super().__init__()
        self.b, self.norm = conv(16, 16), nn.BatchNorm2d(16)
        self.c, self.norm_c = self.b, self.norm

    def between(self, y: Tensor) -> Tensor:
        return F.relu(self.norm_c(self.c(F.relu(self.norm(self.b(y))))))


class TiedWithOwnBiases(Ends):
    def __init__(self) -> None:
        super().__init__()
        self.b, self.c = conv(16, 16), conv(16, 16)
        self.c.weight = self.b.weight

    def between(self, y: Tensor) -> Tensor:
        return F.relu(self.c(F.relu(self.b(y))))


class TiedDepthwise(Ends):
    def __init__(self) -> None:
        super().__init__()
        self.b, self.c = conv(16, 16, 3, padding=1, groups=16), conv(16, 16, 3, padding=1, groups=16)
        self.c.weight = self.b.weight

    def between(self, y: Tensor) -> Tensor:
        return F.relu(self.c(F.relu(self.b(y))))


class TiedTransposed(nn.Module):
    """A decoder with the encoder's own weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(6, 16), nn.Linear(16, 12), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.linear(F.relu(self.b(F.relu(self.a(x)))), self.b.weight.t()))


class NeverUsed(Ends):
    def __init__(self) -> None:
        super().__init__()
        self.never, self.gamma = nn.Sequential(conv(16, 16), nn.BatchNorm2d(16)), nn.Parameter(torch.ones(16))

    def between(self, y: Tensor) -> Tensor:
        return y


# What comes out.


class Holder:
    def __init__(self, classes: Any, features: Any) -> None:
        self.classes, self.hidden = classes, {"features": (features,)}
        self.itself = self


class Slotted:
    __slots__ = ("classes", "features")

    def __init__(self, classes: Any, features: Any) -> None:
        self.classes, self.features = classes, features


def in_an_object() -> nn.Module:
    return Outputs(Holder)


def in_slots() -> nn.Module:
    return Outputs(Slotted)


def in_numpy() -> nn.Module:
    return Outputs(lambda classes, features: (classes, features.detach().numpy()))


def as_a_distribution() -> nn.Module:
    return Outputs(lambda classes, features: (classes, torch.distributions.Normal(features, 1.0)))


def beside_nothing() -> nn.Module:
    return Outputs(lambda classes, features: [classes, None, 3, "name"])


def as_nothing() -> nn.Module:
    return Outputs(lambda classes, features: None)


class Yielded(Ends):
    def forward(self, x: Tensor) -> Iterator[Tensor]:
        yield self.out(self.a(x))


class ComplexOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = conv(3, 16), conv(16, 16), conv(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft2(self.out(F.relu(self.b(F.relu(self.a(x))))))


# What goes in.


class OptionalInput(TwoInputs):
    def forward(self, image: Tensor, depth: Tensor | None = None) -> Tensor:
        y = self.a(image)
        return self.out(y if depth is None else y + self.b(depth))


class KeywordOnly(TwoInputs):
    def forward(self, image: Tensor, *, depth: Tensor) -> Tensor:
        return self.out(self.a(image) + self.b(depth))


class ChangedInput(Ends):
    """The input is written over."""

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.a(x.sub_(0.5).mul_(2)))


# Models that aren't plain Python any more.


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 8)))


def exported() -> nn.Module:
    return torch.export.export(chain().eval(), (torch.zeros(2, 3, 8, 8),)).module()


def compiled() -> nn.Module:
    return torch.compile(chain())


def compiled_in_place() -> nn.Module:
    model = chain()
    model.compile()
    return model


def compiled_part() -> nn.Module:
    return nn.Sequential(conv(3, 16), torch.compile(nn.Sequential(conv(16, 16), nn.ReLU())), conv(16, 8))


class CompiledMethod(Ends):
    @torch.compile
    def between(self, y: Tensor) -> Tensor:
        return F.relu(y) * 2


class ScriptedFunction(Ends):
    """Its function can't be copied."""

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.function = torch.jit.script(_twice)

    def between(self, y: Tensor) -> Tensor:
        return self.function(y)


def _twice(y: Tensor) -> Tensor:
    return torch.relu(y) * 2


def symbolically_traced() -> nn.Module:
    return torch.fx.symbolic_trace(chain())


def _quantisation() -> Any:
    import torch.ao.quantization as quantization

    return quantization


def quantised() -> nn.Module:
    return _quietly(lambda: _quantisation().quantize_dynamic(nn.Sequential(nn.Linear(6, 16), nn.Linear(16, 4))))


def prepared_to_quantise() -> nn.Module:
    model = chain().eval()
    model.qconfig = _quantisation().default_qconfig
    return _quietly(lambda: _quantisation().prepare(model))


def training_to_quantise() -> nn.Module:
    model = chain().train()
    model.qconfig = _quantisation().default_qat_qconfig
    return _quietly(lambda: _quantisation().prepare_qat(model))


def _quietly(make: Callable[[], nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return chain()


def with_a_part_on_meta() -> nn.Module:
    model = chain()
    model[3].to("meta")
    return model


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(16, 1), nn.ReLU(), conv(16, 8))


class MadeInTheForwardPass(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = conv(3, 16)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        if not hasattr(self, "out"):
            self.out = conv(y.shape[1], 8)
        return self.out(y)


class SparseBuffer(Ends):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mix", torch.eye(16).to_sparse())

    def between(self, y: Tensor) -> Tensor:
        return torch.sparse.mm(self.mix, y.transpose(0, 1).flatten(1)).view(16, -1, 8, 8).transpose(0, 1)


# Recurrent layers.


class Cells(nn.Module):
    """A recurrent cell step by step."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.a, self.cell = nn.Linear(6, 16), kind(16, 12)
        self.b, self.out = nn.Linear(12, 20), nn.Linear(20, 8)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in range(x.shape[1]):
            state = self.cell(self.a(x[:, step]), state)
        return self.out(F.relu(self.b(state[0] if isinstance(state, tuple) else state)))


def lstm_cell() -> nn.Module:
    return Cells(nn.LSTMCell)


def gru_cell() -> nn.Module:
    return Cells(nn.GRUCell)


def rnn_cell() -> nn.Module:
    return Cells(nn.RNNCell)


class PackedSequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.cells = nn.Linear(6, 16), nn.LSTM(16, 12, batch_first=True)
        self.b, self.out = nn.Linear(12, 20), nn.Linear(20, 8)

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.full((len(x),), x.shape[1])
        packed = nn.utils.rnn.pack_padded_sequence(self.a(x), lengths, batch_first=True)
        y, _ = nn.utils.rnn.pad_packed_sequence(self.cells(packed)[0], batch_first=True)
        return self.out(F.relu(self.b(y)))


# Forward passes that go wrong.


class Raises(Ends):
    def between(self, y: Tensor) -> Tensor:
        raise ValueError("this network never runs")


class Exits(Ends):
    def between(self, y: Tensor) -> Tensor:
        raise SystemExit("this network quits")


class Asserts(Ends):
    def between(self, y: Tensor) -> Tensor:
        assert y.shape[-1] == 32
        return y


# Weights that are computed, replaced or written over.


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).transpose(0, 1)


def symmetric() -> nn.Module:
    layer = nn.Linear(16, 16)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), layer, nn.ReLU(), nn.Linear(16, 4))


def weight_norm_by_columns() -> nn.Module:
    return nn.Sequential(conv(3, 16), nn.ReLU(), weight_norm(conv(16, 12), dim=1), conv(12, 4))


def weight_norm_over_all() -> nn.Module:
    return nn.Sequential(conv(3, 16), nn.ReLU(), weight_norm(conv(16, 12), dim=None), conv(12, 4))


def with_masks() -> nn.Module:
    """Single weights are pruned already, as torch does it."""
    model = chain()
    prune.l1_unstructured(model[3], "weight", amount=0.3)
    with torch.no_grad():
        model(torch.zeros(1, 3, 8, 8))
    return model


class WeightInABuffer(Ends):
    """Frozen for good."""

    def __init__(self) -> None:
        super().__init__(16, 12)
        self.b = conv(16, 12, bias=False)
        weight = self.b.weight.detach()
        del self.b.weight
        self.b.register_buffer("weight", weight)

    def between(self, y: Tensor) -> Tensor:
        return F.relu(self.b(F.relu(y)))


class FixedKernel(Ends):
    """A tensor that is neither a parameter nor a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = torch.linspace(0, 1, 144).view(16, 1, 3, 3)

    def between(self, y: Tensor) -> Tensor:
        return F.conv2d(y, self.blur, padding=1, groups=16)


class MaximumNorm(Ends):
    """As it is written in networks for brain waves: the forward pass gives the layer another weight."""

    def __init__(self) -> None:
        super().__init__()
        self.b = conv(16, 16)

    def between(self, y: Tensor) -> Tensor:
        self.b.weight.data = self.b.weight.data / self.b.weight.data.abs().amax().clamp(min=1)
        return F.relu(self.b(F.relu(y)))


class Clamped(Ends):
    """The forward pass writes over a weight."""

    def between(self, y: Tensor) -> Tensor:
        self.out.weight.data.clamp_(-0.1, 0.1)
        return y


# Attributes.


class Remembers(Ends):
    """The forward pass keeps what it has seen, in attributes and in what is in them."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.count = None, 0
        self.seen: list[Any] = []
        self.by_name: dict[str, Any] = {"shapes": [(1, 2)]}

    def between(self, y: Tensor) -> Tensor:
        self.last, self.new = y, y
        self.count += 1
        self.seen.append(y)
        self.by_name["last"] = y
        self.by_name["shapes"].append(tuple(y.shape))
        return y


class HoldsWhatCannotBeCopied(Ends):
    def __init__(self) -> None:
        super().__init__()
        self.lock, self.numbers = threading.Lock(), (n for n in range(3))

    def between(self, y: Tensor) -> Tensor:
        with self.lock:
            return y


# Number formats and memory.


def in_bfloat16() -> nn.Module:
    return chain().bfloat16()


def in_float16() -> nn.Module:
    return chain().half()


class HalfInside(nn.Module):
    """Only inside; its code fixes that."""

    def __init__(self) -> None:
        super().__init__()
        self.net = chain().bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.bfloat16()).float()


class Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = chain()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.net(x).float()


def in_one_flat_buffer() -> nn.Module:
    """All parameters are views of one memory, as data parallel training and flat optimisers make them."""
    model = chain()
    flat = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    start = 0
    for parameter in model.parameters():
        parameter.data = flat[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    return model
