"""The names of the noise twins. A twin is the same prompt and optimizer as a run, fed another gradient."""

from __future__ import annotations

from collections.abc import Iterable

from rankprobe.errors import RankprobeError, unknown

TWINS = {
    "gaussian": "Gaussian twin",
    "haar": "Haar twin",
    "flip-example": "example-flip twin",
    "flip-block": "block-flip twin",
}
"""The kinds of twins, from the least to the most like a real gradient, and what figures call them.

At each step a twin gets, in place of ∂L/∂P and with its Frobenius norm:

- `gaussian`: i.i.d. Gaussian entries.
- `haar`: the singular values of ∂L/∂P, with random singular vectors (uniform, that is Haar-distributed).
- `flip-example`: Σ εᵢ gᵢ with the gradient gᵢ of each example of the batch and a random sign εᵢ.
- `flip-block`: ∂L/∂P times a random sign, which is kept for a block of steps (see `training.gradients`).
"""

REPEATED = ("gaussian", "haar")
"""The kinds that one run can have many of, as their gradients need nothing from the backbone."""

MIN_DRAWS = 20
"""The fewest twins of one kind among which the reading of one run has a place."""

ALL_TWINS, NO_TWIN = ",".join(TWINS), "none"


def parse_twins(value: str) -> tuple[str, ...]:
    """Return the kinds of a setting such as `gaussian,haar`, in the order of `TWINS`; () for `none`.

    Raises:
        RankprobeError: a kind is unknown, or `none` stands beside others.
    """
    kinds = [kind.strip() for kind in value.split(",") if kind.strip()]
    if kinds == [NO_TWIN]:
        return ()
    for kind in kinds:
        if kind == NO_TWIN:
            raise RankprobeError(f"twin is '{value}': 'none' excludes the others; give it alone")
        if kind not in TWINS:
            raise unknown("twin", kind, [*TWINS, NO_TWIN])
    if not kinds:
        raise RankprobeError(f"twin is '{value}'; give none, or some of {', '.join(TWINS)}")
    return tuple(kind for kind in TWINS if kind in kinds)


def further_draws(kinds: Iterable[str], draws: int) -> tuple[str, ...]:
    """Return the names of the twins of a run beyond the first of each kind.

    >>> further_draws(["gaussian", "flip-block"], 3)
    ('gaussian-2', 'gaussian-3')
    """
    return tuple(f"{kind}-{i}" for kind in kinds if kind in REPEATED for i in range(2, draws + 1))


def kind_and_draw(name: str) -> tuple[str, int]:
    """Return the kind of a twin and its number among those of this kind, from 1 on."""
    if name in TWINS:
        return name, 1
    kind, _, draw = name.rpartition("-")
    return kind, int(draw)


def twin_title(name: str) -> str:
    """Return what messages call a twin: `Gaussian twin`, or `Gaussian twin 2` for a further draw."""
    kind, draw = kind_and_draw(name)
    return TWINS[kind] if draw == 1 else f"{TWINS[kind]} {draw}"


def twin_prefix(name: str) -> str:
    """Return the prefix of a twin's columns and matrices: `flip_block_` for `flip-block`."""
    return f"{name.replace('-', '_')}_"


def twins_of(columns: Iterable[str], reading: str) -> dict[str, str]:
    """Return the column of `reading` of each twin that `columns` contain, by kind."""
    present = set(columns)
    names = {kind: twin_prefix(kind) + reading for kind in TWINS}
    return {kind: name for kind, name in names.items() if name in present}
