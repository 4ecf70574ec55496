"""Fourier transforms over the image's axes, and complex numbers."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tui_prune
from tests.exactness import TELLING, largest_error, other_values, prune_exactly, trains, widths
from tests.small_nets import conv

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")
IMAGE = torch.randn(2, 3, 8, 8)


class Filtered(nn.Module):
    """Sixteen channels whose frequencies `change` changes."""

    def __init__(self, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change
        self.a, self.out = conv(3, 16, 3, padding=1), conv(16, 4)
        self.filter = nn.Parameter(torch.randn(16, 8, 5, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.change(torch.relu(self.a(x)), torch.view_as_complex(self.filter)))


def by_polar(y: Tensor, _: Tensor) -> Tensor:
    z = torch.fft.fft2(y)
    return torch.fft.ifft2(torch.polar(z.abs() * 2, z.angle())).real


def by_parts(y: Tensor, _: Tensor) -> Tensor:
    z = torch.fft.fft2(y)
    real, imaginary = torch.cat([z.real, z.imag], 1).relu().chunk(2, 1)
    return torch.fft.ifft2(torch.complex(real, imaginary)).real


def shifted(y: Tensor, _: Tensor) -> Tensor:
    z = torch.fft.fftshift(torch.fft.fftn(y, dim=(2, 3)), dim=(2, 3)) * torch.linspace(0, 1, 8)
    return torch.view_as_real(torch.fft.ifftn(torch.fft.ifftshift(z, dim=(2, 3)), dim=(2, 3)))[..., 0]


CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "filter": lambda y, w: torch.fft.irfft2(torch.fft.rfft2(y, norm="ortho") * w, s=y.shape[-2:], norm="ortho"),
    "power": lambda y, w: torch.fft.irfft2((z := torch.fft.rfft2(y)).conj() * z, s=y.shape[-2:]),
    "magnitude and phase": by_polar,
    "real and imaginary part": by_parts,
    "shifted": shifted,
}


@pytest.mark.parametrize("kind", CHANGES)
def test_labels_pass_along_the_channels(kind: str) -> None:
    result = prune_exactly(Filtered(CHANGES[kind]).eval(), IMAGE)
    assert widths(result) == {"a": (16, 8), "out": (4, 4)}
    assert result.model.filter.shape[0] == (8 if kind == "filter" else 16)


def test_a_transform_along_the_channels_locks_them() -> None:
    result = tui_prune.prune(Filtered(lambda y, _: torch.fft.fft(y, dim=1).real).eval(), IMAGE, ratio=0.5)
    (lock,) = [lock for lock in result.report.locks if lock["layer"] == "a"]
    assert lock["reason"] == "a Fourier transform mixes these channels"
    assert "torch.fft.fft(y, dim=1)" in lock["where"]


class Modes(nn.Module):
    """A neural operator: some frequencies by a complex weight, beside a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.beside, self.out = conv(3, 16), conv(16, 16), conv(16, 4)
        self.weight = nn.Parameter(torch.randn(16, 16, 4, 3, dtype=torch.cfloat) / 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        z = torch.fft.rfft2(y)
        chosen = torch.zeros_like(z)
        chosen[:, :, :4, :3] = torch.einsum("bixy,ioxy->boxy", z[:, :, :4, :3], self.weight)
        return self.out(F.gelu(torch.fft.irfft2(chosen, s=y.shape[-2:]) + self.beside(y)))


def test_complex_weights_are_cut_and_counted() -> None:
    model = Modes().eval()
    result = tui_prune.prune(model, IMAGE, ratio=0.5)
    assert widths(result) == {"a": (16, 8), "beside": (16, 8), "out": (4, 4)}
    assert result.model.weight.shape == (8, 8, 4, 3)
    assert result.plan.after.params == sum(p.numel() for p in result.model.parameters())
    assert result.report.equivalence.kind == "exact"
    with torch.no_grad():
        new = other_values(IMAGE)
        kept, plain = result.kept["out.weight/1"], model(new)
        for weight in (model.out.weight, model.beside.weight):
            weight.copy_(torch.zeros_like(weight).index_copy(1, kept, weight[:, kept]))
        first = result.kept["a.weight/0"]
        model.a.weight.copy_(torch.zeros_like(model.a.weight).index_copy(0, first, model.a.weight[first]))
        model.a.bias.copy_(torch.zeros_like(model.a.bias).index_copy(0, first, model.a.bias[first]))
        assert largest_error(result.model(new), model(new)) < 1e-5
        assert largest_error(plain, model(new)) > TELLING


def test_complex_layers() -> None:
    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 16, dtype=torch.cfloat), nn.Linear(16, 12, dtype=torch.cfloat)
            self.out = nn.Linear(12, 3, dtype=torch.cfloat)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.out(self.b(torch.complex(y.real.relu(), y.imag.relu()))).abs()

    result = prune_exactly(Complex().eval(), torch.randn(2, 6, dtype=torch.cfloat))
    assert widths(result) == {"a": (16, 8), "b": (12, 6), "out": (3, 3)}


class MixedModes(nn.Module):
    """Frequencies in four blocks of channels, each with a small network of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(6, 16), nn.Linear(16, 3)
        self.one, self.two = nn.Parameter(torch.randn(2, 4, 4, 6)), nn.Parameter(torch.randn(2, 4, 6, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        z = torch.fft.rfft2(y, dim=(1, 2), norm="ortho").unflatten(3, (4, -1))
        real, imaginary = self.mixed(*self.mixed(z.real, z.imag, self.one, F.relu), self.two, torch.tanh)
        changed = torch.view_as_complex(torch.stack([real, imaginary], -1)).flatten(3)
        return self.out(y + torch.fft.irfft2(changed, s=y.shape[1:3], dim=(1, 2), norm="ortho"))

    def mixed(
        self, real: Tensor, imaginary: Tensor, weight: Tensor, end: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        def times(x: Tensor, part: int) -> Tensor:
            return torch.einsum("...bi,bio->...bo", x, weight[part])

        return end(times(real, 0) - times(imaginary, 1)), end(times(imaginary, 0) + times(real, 1))


def test_blocks_of_channels_keep_the_same_places() -> None:
    result = tui_prune.prune(MixedModes().eval(), torch.randn(2, 8, 8, 6), ratio=0.5)
    assert widths(result) == {"a": (16, 8), "out": (3, 3)}
    assert result.report.equivalence.kind == "exact"
    assert (result.model.one.shape, result.model.two.shape) == ((2, 4, 2, 6), (2, 4, 6, 2))
    trains(result.model, torch.randn(3, 8, 8, 6))
