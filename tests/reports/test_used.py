"""The table of the rank used: numbers of seeds, their functional ranks, and intervals."""

from __future__ import annotations

import json

import pytest
from test_tables import frames, miniature

from rankprobe.errors import RankprobeError
from rankprobe.reports import TABLES, render


def truncated(folder, *ranks: float | None, **changes) -> list[dict]:
    """Rows of runs with these functional ranks of P; in each second resample the rank is one larger."""
    rows = []
    for seed, rank in enumerate(ranks):
        path = folder / f"{len(list(folder.iterdir()))}"
        path.mkdir()
        row = {"matrix": "P", "functional_rank": rank, "low": rank, "high": rank and rank + 1}
        row |= {"resampled": [rank, rank and rank + 1], "prompt": "final"} | changes
        (path / "truncation.json").write_text(json.dumps({"functional_rank": [row]}))
        rows.append(miniature(seed=seed, path=str(path), run_id=path.name))
    return rows


def table(*runs: dict) -> list[dict]:
    return TABLES["used"](frames(*runs)).frame.to_dict("records")


def test_seeds_that_learned_are_counted_and_averaged_alone(tmp_path):
    (row,) = table(*truncated(tmp_path, 4, None, 8))
    assert (row["seeds"], row["learned"], row["P"]) == (3, 2, 6)
    assert (row["learned low %"], row["learned high %"]) == pytest.approx((9.43, 99.16), abs=0.01)
    assert (row["P low"], row["P high"]) == (4, 9)
    assert row["dP"] != row["dP"]
    text = render(TABLES["used"](frames(*truncated(tmp_path, None))))
    assert "tiny (rankprobe's own), miniature CB (miniature data)" in text


def test_a_gain_that_is_not_clear_is_noted(tmp_path):
    clear, unclear = truncated(tmp_path, 4, 8), truncated(tmp_path, 3, None, defined=0.74)
    for row in unclear:
        row["method"] = "dpt"
    (note,) = TABLES["used"](frames(*clear, *unclear)).notes
    assert note.startswith(
        "dpt, tiny (rankprobe's own), miniature CB (miniature data): The gain itself is not clear"
    )
    assert note in render(TABLES["used"](frames(*clear, *unclear)))


def test_a_task_with_its_own_files_has_a_row(tmp_path):
    (row,) = truncated(tmp_path, 4)
    (found,) = table(row | {"data_label": "reviews", "data_source": "file"})
    assert found["data"] == "reviews (its own files)"


def test_a_single_seed_has_its_own_interval_and_earlier_files_have_none_over_seeds(tmp_path):
    (row,) = table(*truncated(tmp_path, 4))
    assert (row["P"], row["P low"], row["P high"]) == (4, 4, 5)
    (row,) = table(*truncated(tmp_path, 4, 8, resampled=None))
    assert row["P"] == 6
    assert row["P low"] != row["P low"]


def test_prompts_and_orders_are_separate_rows(tmp_path):
    rows = truncated(tmp_path, 4) + truncated(tmp_path, 8, order="sensitivity")
    assert [row["method"] for row in table(*rows)] == [
        "vanilla, order = singular",
        "vanilla, order = sensitivity",
    ]


def test_runs_that_cannot_be_in_the_table(tmp_path):
    (row,) = truncated(tmp_path, 4)
    for runs in ([row | {"control": "shuffle-labels"}], [row | {"path": str(tmp_path / "none")}]):
        with pytest.raises(RankprobeError, match="no finished run has a functional rank; measure it"):
            table(*runs)
    with pytest.raises(RankprobeError, match="vanilla of tiny .* seed 0 has several runs"):
        table(row, row)
