"""How far the 8-bit file is from the network in 32 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from core.adapters.embedder import OnnxEmbedder
from training.embedder.network import SentenceEmbedder

SENTENCES = (
    "When was the bridge opened?",
    "The bridge was opened in 1894 and rebuilt in 1951.",
    "How long may a query take before the baseline answers?",
    "Each query has 400 milliseconds; what is not done by then is left out, and the record says so.",
    "Aspirin lowers the risk of a second heart attack in most patients.",
    "Aspirin does not lower the risk of a second heart attack.",
    "No.",
    "Mount Elgon lies on the border of two countries. Its highest point is 4,321 metres above the sea.",
    "Install the package with the extra for tests, then run the command twice; the second run must change nothing.",
    "Licence: Apache-2.0 OR MIT",
    "In the third year the rate rose from 2.5 % to 7 %, then fell again, while prices in the north stayed the same.",
    "Le pont a été ouvert en 1894.",
)
"""Written for this check. They are no test of quality: benchmarks/retrieval.py is."""


def cosines(model: SentenceEmbedder, exported: OnnxEmbedder, tokenizer_file: Path) -> list[float]:
    """For each of `SENTENCES`, the cosine between the vector in 32 bits and the one of the exported file."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    found = []
    for sentence, vector in zip(SENTENCES, exported.embed(SENTENCES), strict=True):
        ids = torch.tensor([tokenizer.encode(sentence).ids])
        with torch.no_grad():
            exact = model(ids, torch.ones_like(ids), torch.zeros_like(ids))[0].numpy()
        found.append(float(np.dot(exact, vector) / (np.linalg.norm(exact) * np.linalg.norm(vector))))
    return found
