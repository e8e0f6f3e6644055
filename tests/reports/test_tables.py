"""The paper's tables from made-up runs with known means and standard deviations."""

from __future__ import annotations

import pandas as pd
import pytest

from rankprobe.errors import RankprobeError
from rankprobe.paper import TASKS
from rankprobe.reports import TABLES, render
from rankprobe.runs import Frames

SETTINGS = (
    "seed task data shots control report_split model method prompt_length bottleneck learning_rate steps device "
    "eval_every twin"
).split()
SIZES = {"finetune": 60_000, "vanilla": 76_800, "residual": 693_000, "dpt": 8_680, "probe": 86_900}
ROWS = {"cb": (250, 56), "rte": (2490, 277), "wic": (5428, 638)}


def run(method="vanilla", task="cb", seed=1, last=50.0, **changes):
    """A finished run of T5-Base on SuperGLUE, as a row of `Frames.runs`."""
    n_train, n_validation = ROWS.get(task, (1, 1))
    row = {
        "run_id": f"{task}-{method}-s{seed}",
        "status": "finished",
        "seed": seed,
        "task": task,
        "data": "hub",
    }
    row |= {"shots": None, "control": "none", "report_split": "all", "model": "t5-base", "method": method}
    row |= {"prompt_length": 0 if method == "finetune" else 100, "learning_rate": 0.3, "steps": None}
    row |= {
        "device": "cpu",
        "eval_every": None,
        "twin": "gaussian",
        "bottleneck": 10 if method == "dpt" else None,
    }
    row |= {
        "data_label": task.upper(),
        "data_source": "hub",
        "n_train": n_train,
        "n_validation": n_validation,
    }
    row |= {"model_label": "t5-base", "random_weights": False, "trainable_parameters": SIZES[method]}
    return row | {"metric": "accuracy", "last": last, "best": last + 5, "baseline": 48.0} | changes


def miniature(method="vanilla", task="cb", seed=1, last=50.0, **changes):
    tiny = {"model": "tiny", "model_label": "tiny (rankprobe's own)", "data": "bundled"}
    tiny |= {"data_source": "bundled", "data_label": f"miniature {task.upper()}"}
    return run(method, task, seed, last, **tiny | changes)


def frames(*runs: dict) -> Frames:
    empty = pd.DataFrame()
    return Frames(pd.DataFrame(list(runs)), empty, empty, empty, empty, SETTINGS)


def rows(table) -> dict[tuple, dict]:
    """The rows of a table by model, method and score."""
    records = table.frame.to_dict("records")
    assert len({(row["model"], row["data"], row["method"], row["score"]) for row in records}) == len(records)
    return {(row["model"], row["method"], row["score"]): row for row in records}


THREE = [run(seed=seed, last=last) for seed, last in ((1, 50.0), (2, 60.0), (3, 76.0))]


def test_means_over_seeds_and_the_papers_row():
    table = rows(TABLES["table1"](frames(*THREE)))
    assert list(table) == [
        ("t5-base", "vanilla", "last"),
        ("t5-base", "vanilla", "paper"),
        ("t5-base", "baseline", ""),
    ]
    ours, paper, majority = table.values()
    assert ours["CB Acc."] == 62.0
    assert ours["trained"] == 76_800
    assert pd.isna(ours["RTE Acc."])
    assert (paper["CB Acc."], paper["RTE Acc."], paper["trained"]) == (70.23, 56.43, "77K")
    assert majority["CB Acc."] == 48
    best = rows(TABLES["table1"](frames(*THREE), "best"))
    assert best["t5-base", "vanilla", "best"]["CB Acc."] == 67.0


def test_sample_standard_deviations_over_seeds():
    table = TABLES["table3"](frames(*THREE, run("dpt")))
    found = rows(table)
    # Around 62: 144 + 4 + 196 = 344, over 2.
    assert found["t5-base", "vanilla", "last"]["CB Acc."] == pytest.approx(172**0.5)
    assert found["t5-base", "vanilla", "paper"]["CB Acc."] == 1.02
    assert pd.isna(found["t5-base", "dpt", "last"]["CB Acc."])
    assert "trained" not in table.frame
    assert not {"Avg.", "baseline"} & {*table.frame, *table.frame["method"]}
    assert table.notes[0].startswith(
        "t5-base, SuperGLUE: fewer than two seeds of vanilla on WSC, WiC, BoolQ, COPA,"
    )
    assert "residual, dpt on all tasks" in table.notes[0]


def test_table_4_has_residual_prompts_of_ten_tokens():
    runs = [
        run("residual"),
        run("residual", prompt_length=10, last=70.0),
        run(prompt_length=10),
        run("finetune"),
    ]
    table = rows(TABLES["table4"](frames(*runs, *THREE)))
    assert table["t5-base", "residual", "last"]["CB Acc."] == 70.0
    assert table["t5-base", "residual", "paper"]["CB Acc."] == 74.99
    assert len(table) == 3


def test_trained_parameters_may_differ_between_tasks():
    table = rows(TABLES["table1"](frames(run(), run(task="rte", trainable_parameters=80_000))))
    assert table["t5-base", "vanilla", "last"]["trained"] == "76,800–80,000"


def test_order_of_rows_and_blocks():
    runs = [
        miniature("probe"),
        miniature("dpt"),
        run("dpt"),
        run("finetune"),
        run("residual"),
        run("vanilla"),
    ]
    runs += [
        run(model="google-t5/t5-small", model_label="google-t5/t5-small"),
        run(model="a", model_label="a"),
    ]
    frame = TABLES["table1"](frames(*runs)).frame
    assert list(dict.fromkeys(frame["model"])) == [
        "google-t5/t5-small",
        "t5-base",
        "a",
        "tiny (rankprobe's own)",
    ]
    base = frame[frame["model"] == "t5-base"]
    assert list(dict.fromkeys(base["method"])) == ["finetune", "vanilla", "residual", "dpt", "baseline"]
    tiny = frame[frame["data"] == "miniature data"]
    assert tiny["method"].tolist() == ["dpt", "probe", "baseline"]


def test_the_miniature_is_separate_from_superglue_and_the_paper():
    same = {"model": "t5-base", "model_label": "t5-base"}
    table = TABLES["table1"](frames(run(last=80.0), miniature(last=20.0, seed=2, **same)))
    ours = table.frame[table.frame["score"] == "last"]
    assert ours[["data", "CB Acc."]].to_numpy().tolist() == [["SuperGLUE", 80.0], ["miniature data", 20.0]]
    assert table.frame.loc[table.frame["score"] == "paper", "data"].tolist() == ["SuperGLUE"]
    assert table.caption.endswith("Miniature data are rankprobe's own, not SuperGLUE.")
    assert "Miniature" not in TABLES["table1"](frames(run())).caption
    folder = TABLES["table1"](frames(run(), run(data_source="folder", data="/glue", seed=2)))
    assert set(folder.frame["data"]) == {"SuperGLUE", "SuperGLUE from a folder"}


@pytest.mark.parametrize("changes", [{"random_weights": True}, {"model": "t5-v1_1-base"}])
def test_other_weights_have_no_row_of_the_paper(changes):
    table = TABLES["table1"](frames(run(n_train=8, **changes)))
    assert "paper" not in set(table.frame["score"])
    assert not [note for note in table.notes if "paper" in note]


def test_averages_are_over_the_same_tasks_in_every_row():
    few = TABLES["table1"](frames(run(last=40.0), run(task="rte", last=60.0), run("dpt", last=90.0)))
    found = rows(few)
    assert found["t5-base", "vanilla", "last"]["Avg."] == 50.0
    assert pd.isna(found["t5-base", "dpt", "last"]["Avg."])
    assert pd.isna(found["t5-base", "vanilla", "paper"]["Avg."])
    assert found["t5-base", "baseline", ""]["Avg."] == 48.0
    assert "t5-base, SuperGLUE: the average is over CB, RTE only" in few.notes
    every = [run(task=task, last=10.0 * i) for i, task in enumerate(TASKS)]
    full = TABLES["table1"](frames(*every))
    found = rows(full)
    assert found["t5-base", "vanilla", "last"]["Avg."] == 35.0
    assert found["t5-base", "vanilla", "paper"]["Avg."] == 64.30
    assert not [note for note in full.notes if "average" in note]


def test_which_runs_are_in_the_table():
    excluded = [
        run(seed=2, status="failed", last=0.0),
        run(seed=3, shots=8, last=0.0),
        run(seed=4, control="shuffle-labels", last=0.0),
        run(seed=5, prompt_length=20, last=0.0),
        run("dpt", seed=6, bottleneck=5, last=0.0),
        run(task="/mine/own.toml", data_source="file", last=0.0),
    ]
    table = TABLES["table1"](frames(run(last=70.0), *excluded))
    assert rows(table)["t5-base", "vanilla", "last"]["CB Acc."] == 70.0
    assert "dpt" not in set(table.frame["method"])


def test_notes_name_empty_cells_and_seeds():
    runs = [run(seed=1), run(seed=2), run(seed=1, task="rte"), run(seed=2, task="rte"), run("dpt")]
    notes = TABLES["table1"](frames(*runs)).notes
    assert notes[:2] == [
        "t5-base, SuperGLUE: no finished run of finetune, residual on all tasks; vanilla on WSC, WiC, BoolQ, COPA, "
        "MultiRC, ReCoRD; dpt on WSC, WiC, BoolQ, COPA, MultiRC, ReCoRD, RTE",
        "t5-base, SuperGLUE: 2 seeds a cell, but dpt on CB 1",
    ]
    assert TABLES["table1"](frames(run())).notes[1] == "t5-base, SuperGLUE: 1 seed a cell"
    runs = [run(method, seed=s, task=t) for t in TASKS for method in ("vanilla", "dpt") for s in (1, 2)]
    notes = TABLES["table1"](frames(*runs, *(run("residual", task=t) for t in TASKS))).notes
    assert notes[1] == "t5-base, SuperGLUE: 2 seeds a cell, but residual on all tasks 1"


def test_notes_about_the_papers_rows():
    last = TABLES["table1"](frames(run("finetune"), run(n_train=8))).notes
    assert last[-3:] == [
        "t5-base, SuperGLUE: the paper quotes its finetune from earlier work",
        "t5-base, SuperGLUE: not as many rows as in the paper on CB; see table2",
        "paper: as printed by Xiao et al. (2023), three runs a cell of prompt methods, of the best step, and ours of the last",
    ]
    small = TABLES["table1"](frames(run("finetune", model="t5-small")), "best").notes
    assert not [note for note in small if "quotes" in note]
    assert small[-1] == "paper: as printed by Xiao et al. (2023), three runs a cell of prompt methods"


def test_the_caption_names_the_score():
    last, best = (TABLES["table1"](frames(run()), score).caption for score in ("last", "best"))
    assert last == (
        "After Table 1 of Xiao et al. (2023): means over seeds of dev scores after the last step, in percent; "
        "prompts of 100 tokens (dpt: bottleneck 10)."
    )
    assert (
        "of the best step, chosen on the dev rows they are reported on, as in the paper, in percent" in best
    )
    half = TABLES["table1"](frames(run(report_split="half")), "best").caption
    assert "chosen on the dev rows of one half, reported on the other, in percent" in half
    residual = TABLES["table4"](frames(run("residual", prompt_length=10))).caption
    assert residual.endswith("; prompts of 10 tokens.")
    assert "sample standard deviations (n − 1) over seeds" in TABLES["table3"](frames(run())).caption


def test_runs_that_differ_in_more_than_their_seed_are_not_averaged():
    runs = [run(seed=1), run(seed=2), run(seed=3, learning_rate=0.1, steps=300)]
    with pytest.raises(RankprobeError) as error:
        TABLES["table1"](frames(*runs))
    assert str(error.value) == (
        "vanilla of t5-base on CB: runs differ in learning_rate (0.1, 0.3) and steps (300, unset); choose, such as "
        "--where learning_rate=0.3"
    )
    table = TABLES["table1"](frames(*runs), where={"learning_rate": ["0.3"]})
    assert table.notes[1] == "t5-base, SuperGLUE: 2 seeds a cell"


def test_scores_of_different_dev_rows_do_not_share_a_column():
    with pytest.raises(
        RankprobeError, match="^tiny .* on CB: runs differ in data .bundled, bundled-500.; choose"
    ):
        TABLES["table1"](frames(miniature(), miniature("dpt", data="bundled-500")))


def test_settings_that_change_no_result_may_differ():
    runs = [run(seed=1), run(seed=2, device="cuda", twin="none", eval_every=5)]
    assert "2 seeds a cell" in TABLES["table1"](frames(*runs)).notes[1]
    with pytest.raises(RankprobeError, match=r"runs differ in eval_every \(5, unset\); choose"):
        TABLES["table1"](frames(*runs), "best")


def test_two_runs_with_one_seed_are_refused():
    with pytest.raises(RankprobeError) as error:
        TABLES["table1"](frames(run(), run(run_id="again"), run(seed=2)))
    assert str(error.value) == (
        "vanilla of t5-base on CB: seed 1 has several runs, cb-vanilla-s1 and again; move all but one away"
    )


def test_where():
    runs = frames(
        run(last=40.0), run(last=60.0, learning_rate=1e-5), run("dpt"), run("finetune", learning_rate=3e-4)
    )

    def methods(**where):
        table = TABLES["table1"](runs, where=where)
        return table.frame.loc[table.frame["score"] == "last", "method"].tolist()

    assert methods(learning_rate=["0.30"]) == ["vanilla", "dpt"]
    assert methods(learning_rate=["0.3", "3e-4"]) == ["finetune", "vanilla", "dpt"]
    assert methods(learning_rate=["0.00001"]) == ["vanilla"]
    # A setting does not restrict methods that do not have it, or that have only one value of it.
    assert methods(learning_rate=["0.3"], bottleneck=["10"], twin=["gaussian"]) == ["vanilla", "dpt"]
    assert methods(learning_rate=["0.3", "3e-4"], prompt_length=["100"]) == ["finetune", "vanilla", "dpt"]
    assert methods(learning_rate=["0.3"], steps=["unset"]) == ["vanilla", "dpt"]
    with pytest.raises(
        RankprobeError, match=r"^no run has learning_rate 0.5 or 1; there are: 0.0003, 0.3, 1e-05$"
    ):
        methods(learning_rate=["0.5", "1"])
    with pytest.raises(RankprobeError, match="^unknown setting 'learning'; did you mean 'learning_rate'"):
        methods(learning=["1"])


def test_table_2_has_the_numbers_of_rows():
    runs = [run(task="rte"), run(task="rte", seed=2), run("dpt"), run(n_train=8, shots=8)]
    table = TABLES["table2"](frames(*runs, miniature(n_train=200)))
    columns = ["data", "from", "train", "dev", "paper train", "paper dev", "paper metric"]
    assert table.frame[columns].astype(object).fillna(0).to_numpy().tolist() == [
        ["CB", "hub", 250, 56, 250, 56, "Acc."],
        ["miniature CB", "bundled", 200, 56, 0, 0, 0],
        ["RTE", "hub", 2490, 277, 2490, 277, "Acc."],
    ]
    (line,) = [line for line in render(table).splitlines() if line.startswith("RTE")]
    assert line.split() == ["RTE", "hub", "2,490", "277", "accuracy", "2,490", "277", "Acc."]
    assert table.caption.endswith("Miniature data are rankprobe's own, not SuperGLUE.")


@pytest.mark.parametrize(
    ("name", "runs", "message"),
    [
        (
            "table1",
            [run(shots=8)],
            "no finished run on a task of the paper with 100 prompt tokens, all training rows",
        ),
        ("table4", [run()], "no finished run of residual on a task of the paper with 10 prompt tokens, all"),
        ("table2", [run(shots=8)], "no run on all training rows; train one without --shots"),
        ("table3", [], "no runs to make a table of; train some first: rankprobe train"),
    ],
)
def test_without_runs_the_error_says_what_is_missing(name, runs, message):
    with pytest.raises(RankprobeError, match=f"^{message}"):
        TABLES[name](frames(*runs))


@pytest.mark.parametrize("name", TABLES)
def test_unknown_score(name):
    with pytest.raises(RankprobeError, match="^unknown score 'lst'; did you mean 'last'"):
        TABLES[name](frames(run()), "lst")


def half(method="vanilla", task="cb", seed=1, last=50.0, **changes):
    """A run that holds back half of dev: `last` is its score on the half that selects, 20 less on the other."""
    own = {
        "report_split": "half",
        "report_last": last - 20,
        "report_best": last - 30,
        "report_baseline": 30.0,
    }
    return run(method, task, seed, last, **own | changes)


@pytest.mark.parametrize(("score", "mean"), [("last", 40.0), ("best", 30.0)])
def test_scores_of_the_reported_half_are_printed(score, mean):
    table = TABLES["table1"](frames(half(last=50.0), half(seed=2, last=70.0)), score)
    found = rows(table)
    assert found["t5-base", "vanilla", score]["CB Acc."] == mean
    assert found["t5-base", "baseline", ""]["CB Acc."] == 30.0
    spread = rows(
        TABLES["table3"](frames(half(last=50.0), half(seed=2, last=70.0), half(seed=3, last=60.0)), score)
    )
    assert spread["t5-base", "vanilla", score]["CB Acc."] == pytest.approx(10.0)
    assert (
        "t5-base, SuperGLUE: scores are of the held-back half of dev, those of the paper of all dev rows"
        in table.notes
    )


def test_the_caption_names_the_held_back_half():
    caption = TABLES["table1"](frames(half())).caption
    assert "dev scores after the last step of the held-back half of dev, in percent" in caption


def test_a_run_without_its_reported_score_is_named_and_left_out():
    table = TABLES["table1"](frames(half(), half(seed=2, report_last=None)))
    assert rows(table)["t5-base", "vanilla", "last"]["CB Acc."] == 30.0
    assert table.notes[1] == "t5-base, SuperGLUE: 1 seed a cell"
    assert table.notes[-1] == "left out, as the score to report is not in their logs: cb-vanilla-s2"


def test_half_and_all_of_dev_do_not_share_a_column():
    with pytest.raises(RankprobeError, match=r"runs differ in report_split \(all, half\); choose"):
        TABLES["table1"](frames(run(), half("dpt")))
