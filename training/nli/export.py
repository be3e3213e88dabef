"""From torch to one ONNX file with 8-bit weights."""

from __future__ import annotations

from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from core.adapters.onnx_model import INPUTS

OPSET = 17


def export_onnx(model: nn.Module, path: Path, *, output: str) -> None:
    """Write a network in 32 bits: three whole-number inputs of shape (rows, length), and an output of a row for each.

    Args:
        model: takes the inputs in the order of `INPUTS`.
        path: the file that is written.
        output: name of the output.
    """
    example = torch.ones(2, 16, dtype=torch.long)
    torch.onnx.export(
        model.eval(),
        (example, example, example),
        str(path),
        input_names=list(INPUTS),
        output_names=[output],
        dynamic_axes={**{name: {0: "rows", 1: "length"} for name in INPUTS}, output: {0: "rows"}},
        opset_version=OPSET,
        dynamo=False,
    )


def quantise(source: Path, target: Path) -> None:
    """Write the network with 8-bit weights; activations are quantised as they come.

    Weights use 7 of the 8 bits: on processors without VNNI instructions the sum of two full 8-bit products overflows
    16 bits and is cut off, and the same pair would get another score there (ONNX Runtime's documentation on
    quantisation, `reduce_range`).
    """
    quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
