"""GPU hours of the experiments at the scale `paper`, by count of operations; writes the table of the README.

python -m experiments.cost                       # print the table
python -m experiments.cost --peak 989 --mfu 0.4  # another GPU
python -m experiments.cost --write               # write it into experiments/README.md
python -m experiments.cost --measure DATA TOKENIZER    # print the numbers of lengths.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rankprobe.backbone.shapes import SHAPES, T5_ROWS
from rankprobe.config.run import RunConfig
from rankprobe.sweeps import Spec, configs_of, load_spec, pack

FOLDER = Path(__file__).parent
README = FOLDER / "README.md"
START, END = "<!-- costs: python -m experiments.cost --write -->", "<!-- end of costs -->"

PEAK, PEAK_FLOAT32, MFU = 312.0, 19.5, 0.3
"""TFLOP/s of an A100 in bfloat16 and in float32 (NVIDIA's data sheet, dense), and the share of it that we
assume a training to reach. The share is an assumption: we have measured none on a GPU."""

TRUNCATED = 54
"""Truncated prompts per run, at most, for n = 100; see `evaluation.truncate`."""

LENGTHS: dict[Any, dict[Any, float]] = (
    pd.read_csv(FOLDER / "lengths.csv", comment="#").set_index("task").to_dict("index")
)


@dataclass(frozen=True)
class Cost:
    """The operations of one run, by dtype of the frozen weights.

    Attributes:
        training: FLOP of all steps.
        evaluation: FLOP of all dev evaluations and of the truncation.
        float32: whether the weights are float32, as in fine-tuning.
    """

    training: float
    evaluation: float
    float32: bool

    def hours(self, peak: float = PEAK, mfu: float = MFU, peak_float32: float = PEAK_FLOAT32) -> float:
        """GPU hours at a share `mfu` of the peak, in TFLOP/s."""
        return (
            (self.training + self.evaluation) / ((peak_float32 if self.float32 else peak) * 1e12 * mfu) / 3600
        )


def forward_flop(model: str, tokens: float, answer: float) -> float:
    """Return the FLOP of one forward pass over a row.

    2 per parameter of a linear layer and token, and 4 per pair of tokens, layer and attention width; the
    encoder reads `tokens` (prompt and text), the decoder and the output layer `answer`. Norms, softmax and
    the keys and values of cross-attention are left out.

    Args:
        model: a name of `SHAPES`, such as `t5-base`.
        tokens: n + T.
        answer: tokens of the target.
    """
    shape = SHAPES[model]
    d, layers, inner = shape["d_model"], shape["num_layers"], shape["d_kv"] * shape["num_heads"]
    encoder = layers * (4 * d * inner + 2 * d * shape["d_ff"])
    decoder = layers * (8 * d * inner + 2 * d * shape["d_ff"])
    attention = 4 * layers * inner * tokens**2
    return 2 * encoder * tokens + attention + 2 * decoder * answer + 2 * d * T5_ROWS * answer


def cost_of(config: RunConfig, truncate: bool = False) -> Cost:
    """Count the operations of a run: back costs as much as one pass forward, in fine-tuning as two.

    With frozen weights the pass back computes no gradient of weights. Padding is left out.

    Args:
        config: with one of the tasks in `lengths.csv` and a T5 as model.
        truncate: its prompt is truncated after the training.
    """
    rows = LENGTHS[config.task]
    forward = forward_flop(config.model, config.method.prompt_length + rows["source"], rows["target"])
    train = min(config.shots or rows["train"], rows["train"])
    per_epoch = -(-int(train) // config.batch_size)
    steps = config.steps or config.epochs * per_epoch
    examples = config.steps * config.batch_size if config.steps else config.epochs * train
    evaluations = 1 + steps // (config.eval_every or per_epoch)
    scored = (evaluations + TRUNCATED * truncate) * rows["dev"]
    passes = 3 if config.method.trains_backbone else 2
    return Cost(passes * examples * forward, scored * forward, config.method.trains_backbone)


def paper_specs(paths: Iterable[Path] | None = None) -> dict[str, Spec]:
    """Return the experiments that have a scale `paper`, by name."""
    specs = {path.stem: load_spec(path) for path in sorted(paths or FOLDER.glob("*.toml"))}
    return {name: spec for name, spec in specs.items() if "paper" in spec.scale}


def cost_table(peak: float = PEAK, mfu: float = MFU, peak_float32: float = PEAK_FLOAT32) -> pd.DataFrame:
    """Return a row per experiment, cheapest first; a run of two experiments counts in the first one only."""
    rows: list[dict[str, Any]] = []
    costs: dict[str, dict[str, Cost]] = {}
    for name, spec in paper_specs().items():
        configs = configs_of(spec, "paper")
        costs[name] = {config.run_id: cost_of(config, spec.truncate) for config in configs}
        rows.append({"experiment": name, "draws": spec.draws, "passes": len(pack(configs, 16))})
    frame = pd.DataFrame(rows)

    def hours(each: Iterable[Cost]) -> float:
        return sum(cost.hours(peak, mfu, peak_float32) for cost in each)

    frame["hours"] = [hours(costs[name].values()) for name in frame["experiment"]]
    frame = frame.sort_values("hours", kind="stable", ignore_index=True)
    trained: set[str] = set()
    for i, name in enumerate(frame["experiment"]):
        new = {run_id: cost for run_id, cost in costs[name].items() if run_id not in trained}
        trained |= set(new)
        of_evaluation = sum(cost.evaluation for cost in costs[name].values())
        total = sum(cost.training + cost.evaluation for cost in costs[name].values())
        frame.loc[i, ["runs", "new"]] = len(costs[name]), len(new)
        frame.loc[i, ["new_hours", "evaluation"]] = hours(new.values()), of_evaluation / total
        frame.loc[i, "float32_hours"] = hours(cost for cost in new.values() if cost.float32)
    return frame.astype({"runs": int, "new": int})


def markdown(frame: pd.DataFrame) -> str:
    """Format the table of `cost_table`, with a last line of sums."""
    lines = [
        "| | experiment | draws | runs | GPU hours | of it evaluation | runs not above | their GPU hours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for i, row in enumerate(frame.to_dict("records"), start=1):
        lines.append(
            f"| {i} | `{row['experiment']}.toml` | {', '.join(row['draws'])} | {row['runs']} | "
            f"{_hours(row['hours'])} | {row['evaluation']:.0%} | {row['new']} | {_hours(row['new_hours'])} |"
        )
    lines.append(f"| | all | | | | | {frame['new'].sum()} | {_hours(frame['new_hours'].sum())} |")
    lines += ["", f"Of the hours of all, {_hours(frame['float32_hours'].sum())} are fine-tuning in float32."]
    return "\n".join(lines)


def _hours(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}"


def with_table(page: str, table: str) -> str:
    """Return the page with `table` between its two marks."""
    head, _, rest = page.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n{table}\n{END}{tail}"


def measure(data: str, tokenizer: str, rows: int = 3000) -> str:
    """Return the lines of lengths.csv for the official rows in a folder."""
    import numpy as np

    from rankprobe.backbone.load import load_tokenizer
    from rankprobe.tasks import SPLITS, get_task, load_split

    pieces, lines = load_tokenizer(tokenizer), ["task,train,dev,source,target"]
    for name in LENGTHS:
        task = get_task(str(name))
        splits = {split: load_split(task, split, data).examples for split in SPLITS}
        train = [example for row in splits["train"] for example in task.training_examples(row)]
        picked = np.random.default_rng(0).permutation(len(train))[:rows]
        texts = [[task.source(train[i].fields), task.target(train[i], "digits")] for i in picked]
        lengths = [[min(256, len(pieces(text).input_ids)) for text in pair] for pair in texts]
        source, target = np.mean(lengths, axis=0)
        lines.append(f"{name},{len(train)},{len(splits['validation'])},{source:.1f},{target:.1f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="GPU hours of the experiments at the scale paper.")
    parser.add_argument("--peak", type=float, default=PEAK, help="TFLOP/s in bfloat16")
    parser.add_argument("--peak-float32", type=float, default=PEAK_FLOAT32, help="TFLOP/s in float32")
    parser.add_argument("--mfu", type=float, default=MFU, help="share of the peak that is reached")
    parser.add_argument("--write", action="store_true", help="write the table into experiments/README.md")
    parser.add_argument("--measure", nargs=2, metavar=("DATA", "TOKENIZER"), help="print lengths.csv")
    given = parser.parse_args()
    if given.measure:
        print(measure(*given.measure))
        return
    table = markdown(cost_table(given.peak, given.mfu, given.peak_float32))
    if given.write:
        README.write_text(with_table(README.read_text(), table))
    print(table)


if __name__ == "__main__":
    main()
