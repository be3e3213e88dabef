"""From torch to one ONNX file with 8-bit weights."""

from __future__ import annotations

from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from training.nli.encoder import CrossEncoder

OPSET = 17
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "logits"


def export_onnx(model: CrossEncoder, path: Path) -> None:
    """Write the network in 32 bits: three whole-number inputs of shape (rows, length), logits of shape (rows, 3)."""
    example = torch.ones(2, 16, dtype=torch.long)
    torch.onnx.export(
        model.eval(),
        (example, example, example),
        str(path),
        input_names=list(INPUTS),
        output_names=[OUTPUT],
        dynamic_axes={**{name: {0: "rows", 1: "length"} for name in INPUTS}, OUTPUT: {0: "rows"}},
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
