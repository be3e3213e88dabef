"""The cross-encoder in torch: MiniLM-L6 with both sentences in one input and a head for three labels.

The encoder is BERT (Devlin et al. 2019, arXiv 1810.04805) in the size of MiniLM-L6-H384 (Wang et al. 2020, arXiv
2002.10957). The starting weights were trained as a sentence embedder whose vector is the mean of its tokens. The head
therefore reads, beside the first token, the mean of each sentence's tokens, their difference and their product
(Conneau et al. 2017, arXiv 1705.02364): what the weights already know about similarity is of use from the first step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY, POSITIONS, WIDTH, HEADS, LAYERS, INNER = 30_522, 512, 384, 12, 6, 1_536
LABELS = ("e", "n", "c")
"""Entailment, neutral, contradiction, in the order of the output."""

Head = Literal["pooled", "first"]


class Block(nn.Module):
    """One transformer layer, normalised after each addition, as in BERT."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.attended = nn.Linear(WIDTH, WIDTH)
        self.attended_norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.inner = nn.Linear(WIDTH, INNER)
        self.outer = nn.Linear(INNER, WIDTH)
        self.outer_norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """Return the next layer's input; `bias` is added to the attention scores and hides padding."""
        rows, length, _ = hidden.shape
        query, key, value = self.qkv(hidden).view(rows, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed = mixed.transpose(1, 2).reshape(rows, length, WIDTH)
        hidden = self.attended_norm(hidden + self.dropout(self.attended(mixed)))
        return self.outer_norm(hidden + self.dropout(self.outer(functional.gelu(self.inner(hidden)))))


class CrossEncoder(nn.Module):
    """Three logits (entailment, neutral, contradiction) for a pair of sentences.

    Args:
        head: `pooled` reads the first token and both sentences' means, `first` the first token alone.
        dropout: share of hidden units dropped while training.
    """

    def __init__(self, *, head: Head = "pooled", dropout: float = 0.1) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Embedding(POSITIONS, WIDTH)
        self.sides = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dropout) for _ in range(LAYERS))
        self.head = head
        self.dense = nn.Linear(WIDTH * (5 if head == "pooled" else 1), WIDTH)
        self.out = nn.Linear(WIDTH, len(LABELS))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return logits of shape (rows, 3); the arguments are whole numbers of shape (rows, length)."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        hidden = self.norm(self.words(input_ids) + self.places(places) + self.sides(token_type_ids))
        hidden = self.dropout(hidden)
        bias = (1.0 - attention_mask.to(hidden.dtype))[:, None, None, :] * -10_000.0
        for block in self.blocks:
            hidden = block(hidden, bias)
        first = hidden[:, 0]
        if self.head == "pooled":
            second_side = (token_type_ids * attention_mask).to(hidden.dtype)
            first_side = attention_mask.to(hidden.dtype) - second_side
            left, right = _mean(hidden, first_side), _mean(hidden, second_side)
            first = torch.cat([first, left, right, (left - right).abs(), left * right], dim=1)
        return self.out(self.dropout(torch.tanh(self.dense(self.dropout(first)))))


def _mean(hidden: Tensor, weights: Tensor) -> Tensor:
    return (hidden * weights[:, :, None]).sum(1) / weights.sum(1, keepdim=True).clamp(min=1.0)


def load_base(model: CrossEncoder, weights: Path) -> None:
    """Copy the embedder's weights (a safetensors file with BERT's names) into a new cross-encoder.

    Raises:
        KeyError: the file lacks a tensor.
        RuntimeError: a tensor has another shape.
    """
    given = load_file(weights)
    state = model.state_dict()
    taken = {
        "words.weight": given["embeddings.word_embeddings.weight"],
        "places.weight": given["embeddings.position_embeddings.weight"],
        "sides.weight": given["embeddings.token_type_embeddings.weight"],
        "norm.weight": given["embeddings.LayerNorm.weight"],
        "norm.bias": given["embeddings.LayerNorm.bias"],
    }
    for number in range(LAYERS):
        source = f"encoder.layer.{number}."
        for part in ("weight", "bias"):
            names = [f"{source}attention.self.{name}.{part}" for name in ("query", "key", "value")]
            taken[f"blocks.{number}.qkv.{part}"] = torch.cat([given[name] for name in names])
            for ours, theirs in (
                ("attended", "attention.output.dense"),
                ("attended_norm", "attention.output.LayerNorm"),
                ("inner", "intermediate.dense"),
                ("outer", "output.dense"),
                ("outer_norm", "output.LayerNorm"),
            ):
                taken[f"blocks.{number}.{ours}.{part}"] = given[f"{source}{theirs}.{part}"]
    state.update(taken)
    model.load_state_dict(state)
