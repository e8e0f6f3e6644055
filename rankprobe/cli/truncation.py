"""The text and the JSON document of a run's truncation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rankprobe.text import plain

if TYPE_CHECKING:
    from rankprobe.evaluation.truncation import Truncation
    from rankprobe.runs import Run


def truncation_row(run: Run, result: Truncation) -> dict[str, Any]:
    """Return the tables of a truncation; the ranks of its resamples are only in the run's truncation.json."""
    return {
        "run_id": run.id,
        "path": run.path,
        "curves": result.curves,
        "functional_rank": result.functional_rank.drop(columns="resampled", errors="ignore"),
        "profile": result.profile,
    }


def format_truncation(run: Run, result: Truncation) -> str:
    """Format the curves of the first metric, the functional ranks, and the least k by share of the gain."""
    metric = result.curves["metric"].iloc[0]
    curves = result.curves[result.curves["metric"] == metric]
    name = curves["kept"].str.cat(curves["matrix"], sep=" of ")
    wide = curves.assign(curve=name).pivot(index="k", columns="curve", values="value")
    first = curves.iloc[0]
    kept = "k singular directions" + (", most sensitive first" if first["order"] == "sensitivity" else "")
    answers = "answers decoded" if first["scoring"] == "greedy" else "likeliest labels"
    lines = [
        plain(f"{run.id}: {first['split']} {metric} with {kept}, {answers}, {first['data']}"),
        wide[list(dict.fromkeys(name))].to_string(float_format="{:.1f}".format, na_rep=""),
        f"baseline {first['baseline']:.1f}",
        *(_format_functional_rank(row) for row in result.functional_rank.to_dict("records")),
    ]
    for matrix, rows in result.profile.dropna(subset="k").groupby("matrix", sort=False):
        ks = [f"{row['share']:.0%}: {_up_to(row['below'], row['k'])}" for row in rows.to_dict("records")]
        lines.append(f"least k of {matrix} by share of the gain: {', '.join(ks)}")
    return "\n".join(lines)


def _format_functional_rank(row: dict[Any, Any]) -> str:
    from rankprobe.reports.used import has_unclear_gain

    if row["functional_rank"] != row["functional_rank"]:
        return f"functional rank of {row['matrix']}: undefined, the score is not above the baseline"
    unsure = f", undefined in {1 - row['defined']:.0%} of resamples" if row["defined"] < 1 else ""
    unclear = "; the gain itself is not clear" if has_unclear_gain([row]) else ""
    return (
        f"functional rank of {row['matrix']}: {_up_to(row['below'], row['functional_rank'])} "
        f"({row['low']:.0f}–{row['high']:.0f}{unsure}), the least k that keeps 95 % of the gain over "
        f"baseline{unclear}"
    )


def _up_to(below: float, k: float) -> str:
    """A least k that is known to be above `below` and at most `k`: one number if it is exact."""
    return f"{k:.0f}" if k - below == 1 else f"{below + 1:.0f} to {k:.0f}"
