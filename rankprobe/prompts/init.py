"""Initial values of factors and prompts: plain functions of a generator, so equal seeds give equal values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rankprobe.errors import RankprobeError
from rankprobe.prompts.config import StartConfig


@dataclass(frozen=True)
class InitSources:
    """What an initial prompt can be made of, all in the width and dtype of the prompt.

    Attributes:
        vocabulary: embeddings of vocabulary pieces, most frequent first.
        labels: the mean embedding of the pieces of each label's text; may have no rows.
        text: the embedded `init_text`, if given.
        saved: the prompt at `init_from`, if given.
    """

    vocabulary: Float[Tensor, "pieces d"]
    labels: Float[Tensor, "labels d"]
    text: Float[Tensor, "text_pieces d"] | None = None
    saved: Float[Tensor, "n saved_d"] | None = None

    @property
    def width(self) -> int:
        return self.vocabulary.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.vocabulary.dtype


def initial_prompt(
    config: StartConfig, sources: InitSources, generator: torch.Generator
) -> Float[Tensor, "n d"]:
    """The initial prompt that `config.init` describes.

    Source: Lester et al. (2021), section 3.2.

    Raises:
        RankprobeError: a saved prompt of another shape.
    """
    n, shape, dtype = config.prompt_length, (config.prompt_length, sources.width), sources.dtype
    frequent = sources.vocabulary[: config.init_vocab_size]
    match config.init:
        case "vocabulary":
            return sampled_vocabulary(generator, frequent, n)
        case "labels":
            if not len(sources.labels):
                raise RankprobeError("init is 'labels', and the task has none; use --init vocabulary")
            rest = sampled_vocabulary(generator, frequent, max(0, n - len(sources.labels)))
            return torch.cat([sources.labels[:n], rest])
        case "text":
            assert sources.text is not None
            return repeated(sources.text, n)
        case "saved":
            assert sources.saved is not None
            if tuple(sources.saved.shape) != shape:
                rows, width = sources.saved.shape
                advice = f"; give --prompt-length {rows}" if width == sources.width else ""
                raise RankprobeError(
                    f"the prompt in '{config.init_from}' is {rows} x {width}, and P is {n} x {sources.width} "
                    f"(prompt_length x width of the backbone){advice}"
                )
            return sources.saved.clone()
        case kind:
            return random_factor(generator, shape, kind, config.init_scale, dtype)


def repeated(rows: Float[Tensor, "rows d"], n: int) -> Float[Tensor, "n d"]:
    """The rows repeated, and cut to `n`."""
    return rows.repeat(-(-n // len(rows)), 1)[:n].clone()


def random_factor(
    generator: torch.Generator, shape: tuple[int, ...], kind: str, scale: float, dtype: torch.dtype
) -> Tensor:
    """A factor with i.i.d. entries: N(0, scale²) for `normal`, U(−scale, scale) for `uniform`."""
    if kind == "normal":
        return torch.randn(shape, generator=generator, dtype=dtype) * scale
    return (torch.rand(shape, generator=generator, dtype=dtype) * 2 - 1) * scale


def positive_diagonal(
    generator: torch.Generator, size: int, kind: str, dtype: torch.dtype
) -> Float[Tensor, " r"]:
    """Initial σ: 1 for `ones`, U(0, 1) for `uniform`, |N(0, 1)| for `half-normal`."""
    if kind == "uniform":
        return torch.rand(size, generator=generator, dtype=dtype)
    if kind == "half-normal":
        return torch.randn(size, generator=generator, dtype=dtype).abs()
    return torch.ones(size, dtype=dtype)


def truncated_svd(
    P: Float[Tensor, "n d"], rank: int
) -> tuple[Float[Tensor, "n r"], Float[Tensor, " r"], Float[Tensor, "r d"]]:
    """The first `rank` singular vectors and values of P: U, s, V; computed in float64.

    Raises:
        RankprobeError: LAPACK does not converge.
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


def sampled_vocabulary(
    generator: torch.Generator, embedding: Float[Tensor, "pieces d"], n: int
) -> Float[Tensor, "n d"]:
    """`n` random rows of `embedding`; without replacement if there are enough pieces.

    Source: Lester et al. (2021), section 3.2, "sampled vocabulary".
    """
    pieces = len(embedding)
    rounds = max(1, -(-n // pieces))
    drawn = torch.cat([torch.randperm(pieces, generator=generator) for _ in range(rounds)])[:n]
    return embedding[drawn].clone()
