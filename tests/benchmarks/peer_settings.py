"""Torch-Pruning at its best: many of its importances and scopes, each at the ratio that leaves the MACs asked for."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch_pruning
from torch import nn
from torch.nn import functional as F
from torch_pruning import importance as scored_by

from tests.benchmarks.digits_task import Digits

PRECISION = 1e-3
"""Of the ratio that is looked for."""


@dataclass(frozen=True)
class Setting:
    """One way of calling the peer."""

    name: str
    importance: Callable[[], Any]
    everywhere: bool
    """One ranking of all channels, instead of the same ratio in each layer."""
    isomorphic: bool = False
    """One ranking for each kind of group (Fang et al. 2024, https://arxiv.org/abs/2407.04616)."""
    gradients: bool = False

    def cut(
        self, model: nn.Module, data: Digits, outputs: Sequence[str], macs: Callable[[nn.Module], float], share: float
    ) -> nn.Module | None:
        """The largest network with at most this share of the MACs that the setting finds, or None where it finds none;
        the model stays as it is.

        `outputs` are the layers that make the classes, which it is told to leave alone.
        """
        model = copy.deepcopy(model)
        if self.gradients:
            for inputs, labels in data.calibration():
                F.cross_entropy(model(inputs), labels).backward()
        limit, low, high, found = share * macs(model), 0.0, 1.0, None
        while high - low > PRECISION:
            middle = (low + high) / 2
            network = self._pruned(model, data, outputs, middle)
            if macs(network) <= limit:
                high, found = middle, network
            else:
                low = middle
        if found is not None:
            found.zero_grad()
        return found

    def _pruned(self, model: nn.Module, data: Digits, outputs: Sequence[str], ratio: float) -> nn.Module:
        model = _with_gradients(model) if self.gradients else copy.deepcopy(model)
        torch_pruning.pruner.BasePruner(
            model,
            data.test.inputs[:1],
            importance=self.importance(),
            global_pruning=self.everywhere,
            isomorphic=self.isomorphic,
            pruning_ratio=ratio,
            ignored_layers=[model.get_submodule(name) for name in outputs],
            in_channel_groups={},
            out_channel_groups={},
            num_heads={},
        ).step()
        return model.eval()


def _with_gradients(model: nn.Module) -> nn.Module:
    twin = copy.deepcopy(model)
    for own, other in zip(twin.parameters(), model.parameters(), strict=True):
        own.grad = None if other.grad is None else other.grad.clone()
    return twin


def _both(name: str, importance: Callable[[], Any], **more: bool) -> list[Setting]:
    return [Setting(f"{name}, {scope}", importance, scope == "global", **more) for scope in ("local", "global")]


SETTINGS = (
    *_both("group l2", lambda: scored_by.GroupMagnitudeImportance(p=2)),
    *_both("group l1", lambda: scored_by.GroupMagnitudeImportance(p=1)),
    Setting("first l1, local",
            lambda: scored_by.GroupMagnitudeImportance(p=1, normalizer=None, group_reduction="first"), False),
    *_both("bn scale", scored_by.BNScaleImportance),
    Setting("bn scale not normalised, global", lambda: scored_by.BNScaleImportance(normalizer=None), True),
    *_both("fpgm", scored_by.FPGMImportance),
    Setting("lamp, global", scored_by.LAMPImportance, True),
    *_both("taylor", scored_by.GroupTaylorImportance, gradients=True),
    Setting("taylor not normalised, global", lambda: scored_by.GroupTaylorImportance(normalizer=None), True,
            gradients=True),
    Setting("group l2, isomorphic", scored_by.GroupMagnitudeImportance, True, isomorphic=True),
    Setting("taylor, isomorphic", scored_by.GroupTaylorImportance, True, isomorphic=True, gradients=True),
)  # fmt: skip
"""Its importances that look at weights or at a gradient, in the scopes that its documentation shows for them."""
