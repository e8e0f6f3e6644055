"""How factors and prompts start. Plain functions of a generator: the same generator, the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rankprobe.errors import RankprobeError
from rankprobe.prompts.config import StartConfig


@dataclass(frozen=True)
class Words:
    """What a prompt can start from, all in the prompt's width and dtype.

    Attributes:
        vocabulary: (pieces, d), embeddings of real pieces, most frequent first.
        labels: (labels, d), each the mean embedding of the pieces of a label's text; may have no rows.
        text: (pieces, d), the embedded `init_text`, if there is one.
        saved: (n, d), the prompt found at `init_from`, if there is one.
    """

    vocabulary: Tensor
    labels: Tensor
    text: Tensor | None = None
    saved: Tensor | None = None

    @property
    def width(self) -> int:
        return self.vocabulary.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.vocabulary.dtype


def initial_prompt(config: StartConfig, words: Words, generator: torch.Generator) -> Tensor:
    """The prompt (n, d) that `config.init` describes.

    Source: Lester et al. (2021), section 3.2.

    Raises:
        RankprobeError: a saved prompt of another shape.
    """
    n, shape, dtype = config.prompt_length, (config.prompt_length, words.width), words.dtype
    frequent = words.vocabulary[: config.vocabulary]
    match config.init:
        case "vocabulary":
            return sampled_vocabulary(generator, frequent, n)
        case "labels":
            if not len(words.labels):
                raise RankprobeError("init is 'labels', and the task has none; use --init vocabulary")
            rest = sampled_vocabulary(generator, frequent, max(0, n - len(words.labels)))
            return torch.cat([words.labels[:n], rest])
        case "text":
            assert words.text is not None
            return repeated(words.text, n)
        case "saved":
            assert words.saved is not None
            if tuple(words.saved.shape) != shape:
                found = " x ".join(map(str, words.saved.shape))
                raise RankprobeError(
                    f"the prompt in '{config.init_from}' is {found}, and P is {n} x {words.width} "
                    "(prompt_length x width of the backbone)"
                )
            return words.saved.clone()
        case kind:
            return random_factor(generator, shape, kind, config.init_scale, dtype)


def repeated(rows: Tensor, n: int) -> Tensor:
    """`n` rows: those given, over and over, the last time cut."""
    return rows.repeat(-(-n // len(rows)), 1)[:n].clone()


def random_factor(
    generator: torch.Generator, shape: tuple[int, ...], kind: str, scale: float, dtype: torch.dtype
) -> Tensor:
    """A factor with i.i.d. entries: N(0, scale²) for `normal`, U(−scale, scale) for `uniform`."""
    if kind == "normal":
        return torch.randn(shape, generator=generator, dtype=dtype) * scale
    return (torch.rand(shape, generator=generator, dtype=dtype) * 2 - 1) * scale


def positive_diagonal(generator: torch.Generator, size: int, kind: str, dtype: torch.dtype) -> Tensor:
    """Initial σ, (r,): 1 for `ones`, U(0, 1) for `uniform`, |N(0, 1)| for `half-normal`."""
    if kind == "uniform":
        return torch.rand(size, generator=generator, dtype=dtype)
    if kind == "half-normal":
        return torch.randn(size, generator=generator, dtype=dtype).abs()
    return torch.ones(size, dtype=dtype)


def truncated_svd(P: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The first `rank` singular vectors and values of P (n, d): U (n, rank), s, V (rank, d); in float64.

    Raises:
        RankprobeError: LAPACK does not find them.
    """
    try:
        U, s, V = torch.linalg.svd(P.double(), full_matrices=False)
    except RuntimeError:  # torch.linalg.LinAlgError, which its types do not export
        raise RankprobeError(
            f"the singular values of the initial prompt {tuple(P.shape)} were not found; use another "
            "--factor-init, or another --init"
        ) from None
    U, s, V = (each.to(P.dtype).contiguous() for each in (U[:, :rank], s[:rank], V[:rank]))
    return U, s, V


def sampled_vocabulary(generator: torch.Generator, embedding: Tensor, n: int) -> Tensor:
    """A prompt (n, d) of rows drawn from `embedding` (pieces, d); without replacement where n allows.

    Source: Lester et al. (2021), section 3.2, "sampled vocabulary".
    """
    pieces = len(embedding)
    rounds = max(1, -(-n // pieces))
    drawn = torch.cat([torch.randperm(pieces, generator=generator) for _ in range(rounds)])[:n]
    return embedding[drawn].clone()
