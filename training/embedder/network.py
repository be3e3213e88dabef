"""The sentence embedder in torch: MiniLM-L6, the mean of its tokens, made one unit long.

Pooling and normalisation are those of the model's own configuration (`1_Pooling`, `2_Normalize`; Reimers and Gurevych
2019, arXiv 1908.10084).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.nli.encoder import WIDTH, CrossEncoder, load_base

DIMENSIONS = WIDTH


class SentenceEmbedder(nn.Module):
    """A vector of 384 numbers, of length one, for a text.

    Args:
        weights: the model's safetensors file.

    Raises:
        KeyError: the file lacks a tensor.
        RuntimeError: a tensor has another shape.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.base = CrossEncoder(head="first", dropout=0.0)  # its body is this model's; its head is not used
        load_base(self.base, weights)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return vectors of shape (rows, 384); the arguments are whole numbers of shape (rows, length)."""
        base = self.base
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        hidden = base.norm(base.words(input_ids) + base.places(places) + base.sides(token_type_ids))
        mask = attention_mask.to(hidden.dtype)
        for block in base.blocks:
            hidden = block(hidden, (1.0 - mask)[:, None, None, :] * -10_000.0)
        mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1.0)
        return functional.normalize(mean, dim=1)
