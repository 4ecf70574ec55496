"""ONNX models without the values of their weights: what takes time in ONNX Runtime, in a few kilobytes.

A skeleton is a dict of plain values: the model (base64), and names and shapes of the weights that have to be put back
(`cost.on_target`).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import nn

from tui_prune.cost.cost import SizedCall
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.graph.trace import evaluating
from tui_prune.saving.exporting.formats import FORMATS

Skeleton = dict[str, Any]
SMALL = 64
"""Weights of so few numbers keep their values: they may be sizes."""
OPSET = 18


def skeleton_of_network(model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Skeleton:
    """The skeleton of a network for inputs of this shape. Raises `UsageError` where a package is missing, and
    `TuiPruneError` where the network can't be exported."""
    FORMATS["onnx"].check_installed()
    onnx = import_module("onnx")
    try:
        with evaluating(model):
            program = torch.export.export(model, tuple(inputs), dict(kwargs), strict=False)
            proto = onnx.load_model_from_string(FORMATS["onnx"].pack(program, {}, None).content)
    except (TuiPruneError, UsageError):
        raise
    except Exception as error:  # the network's own code
        raise TuiPruneError(f"The network can't be exported to ONNX ({type(error).__name__}).") from error
    return _without_values(proto, onnx)


def skeleton_of_call(call: SizedCall) -> Skeleton | None:
    """The skeleton of a single convolution or linear layer; None for another operator."""
    make, onnx = import_module("onnx.helper"), import_module("onnx")
    name = call.func._schema.name
    given = dict(zip([argument.name for argument in call.func._schema.arguments], call.args, strict=False))
    if name == "aten::convolution":
        weight, bias = given["weight"], given["bias"]
        padding = [*given["padding"], *given["padding"]]
        choices = {
            "strides": given["stride"],
            "pads": padding,
            "dilations": given["dilation"],
            "group": given["groups"],
        }
        kind = "Conv"
        if given["transposed"]:
            kind, choices = "ConvTranspose", {**choices, "output_padding": given["output_padding"]}
        tensors = [("x", given["input"]), ("w", weight), *([("b", bias)] if isinstance(bias, torch.Size) else [])]
        node = make.make_node(kind, [one for one, _ in tensors], ["y"], **choices)
    elif name == "aten::addmm":
        tensors = [("x", given["mat1"]), ("w", given["mat2"]), ("b", given["self"])]
        node = make.make_node("Gemm", ["x", "w", "b"], ["y"])
    elif name in ("aten::mm", "aten::bmm"):
        tensors = [("x", given["self"]), ("w", given["mat2"])]
        node = make.make_node("MatMul", ["x", "w"], ["y"])
    else:
        return None
    floating = onnx.TensorProto.FLOAT
    weights = [(one, list(shape)) for one, shape in tensors[1:] if call.layer]
    fed = tensors if not call.layer else tensors[:1]
    graph = make.make_graph(
        [node],
        "call",
        [make.make_tensor_value_info(one, floating, list(shape)) for one, shape in fed],
        [make.make_tensor_value_info("y", floating, list(call.out))],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", OPSET)])
    model.ir_version = 8
    return {"model": base64.b64encode(model.SerializeToString()).decode(), "weights": weights}


def _without_values(proto: Any, onnx: Any) -> Skeleton:
    weights: list[tuple[str, list[int]]] = []
    kept = []
    for tensor in proto.graph.initializer:
        count = 1
        for size in tensor.dims:
            count *= size
        if tensor.data_type == onnx.TensorProto.FLOAT and count > SMALL:
            weights.append((tensor.name, list(tensor.dims)))
        else:
            kept.append(tensor)
    saved = [one.SerializeToString() for one in kept]
    del proto.graph.initializer[:]
    for one in saved:
        proto.graph.initializer.add().ParseFromString(one)
    return {"model": base64.b64encode(proto.SerializeToString()).decode(), "weights": weights}
