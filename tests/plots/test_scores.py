"""Figures of scores show the numbers of the runs, and the paper's numbers where runs are comparable."""

from __future__ import annotations

import pytest
from fake_runs import frames, grid, legend, lines, run

from rankprobe.errors import RankprobeError
from rankprobe.paper import paper_scores
from rankprobe.plots import ALIASES, FIGURES, fig1, fig4, fig5, fig6, fig7, fig8
from rankprobe.plots.style import method_style

SEEDS = [1, 2, 3]
THREE = ["vanilla", "residual", "dpt"]
ALL = ["wsc", "wic", "boolq", "cb", "copa", "multirc", "record", "rte"]
NOTE = "mean of 3 seeds, band: least to greatest"


def titles(figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def printed(model: str, method: str, task: str) -> float:
    table = paper_scores().query(
        "table == 'table1' and model == @model and method == @method and task == @task"
    )
    return table["value"].item()


def stars(axes) -> list[tuple[float, float]]:
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.get_lines()
        if line.get_label() == "paper, Table 1" and line.get_marker() == "*"
    ]


def test_fig1_has_a_row_per_method_with_its_trained_parameters():
    loaded = frames(
        *grid(task=["cb", "rte"], method=THREE, seed=SEEDS), run(method="dpt", task="wic", last=0)
    )
    figure = fig1(loaded)
    (axes,) = figure.axes
    assert axes.get_title() == "tiny (rankprobe's own)\nmean of 2 miniature tasks"
    assert [each.get_text() for each in axes.get_yticklabels()] == [
        "vanilla (12.8K)", "residual (12.8K)", "dpt (2.3K)",
    ]  # fmt: skip
    marks = [line for line in axes.get_lines() if line.get_label() != "baseline"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks] == [(62, 0), (62, 1), (62, 2)]
    (bar, *_) = axes.collections
    assert bar.get_segments()[0][:, 0].tolist() == [61, 63]
    assert axes.get_xlabel() == "dev accuracy, last step (%)"
    assert legend(figure)[0].startswith("mean of 3 seeds, bar: least to greatest; in brackets")
    assert "run18" not in figure.get_label().splitlines()


def test_a_method_that_plots_do_not_know_follows_the_papers_methods():
    figure = fig6(frames(*grid(prompt_length=[10, 100], method=["a-new-method", "dpt", "vanilla"])))
    assert legend(figure)[1] == ["vanilla", "dpt", "a-new-method", "baseline"]


def test_fig1_separates_models_and_miniatures():
    runs = grid(model=["t5-base", "t5-large"], data=["hub", "bundled"], task=["cb", "multirc"])
    figure = fig1(frames(*runs))
    assert titles(figure) == [
        "t5-base\nmean of 2 tasks", "t5-base\nmean of 2 miniature tasks",
        "t5-large\nmean of 2 tasks", "t5-large\nmean of 2 miniature tasks",
    ]  # fmt: skip
    assert {axes.get_xlabel() for axes in figure.axes} == {"dev score, last step (%)"}


def test_fig1_stars_are_the_papers_averages():
    figure = fig1(frames(*grid(model="t5-base", data="hub", task=ALL, method=THREE)))
    (axes,) = figure.axes
    expected = [printed("T5-Base", method, "average") for method in THREE]
    assert stars(axes) == list(zip(expected, [0, 1, 2], strict=True))
    assert legend(figure)[1][-1] == "paper, Table 1"
    (axes,) = fig1(frames(*grid(model="t5-base", data="hub", task=["cb", "rte"]))).axes
    assert stars(axes) == [((printed("T5-Base", "dpt", "cb") + printed("T5-Base", "dpt", "rte")) / 2, 0)]


@pytest.mark.parametrize("change", [{"data": "bundled"}, {"random_weights": True}, {"model": "t5-11b"}])
@pytest.mark.parametrize("figure", [fig1, fig5, fig6])
def test_no_star_if_runs_are_not_comparable(figure, change):
    own = {"model": "t5-base", "data": "hub", "task": "cb"} | change
    drawn = figure(frames(*grid(method=["vanilla", "dpt"], **own)))
    assert "paper, Table 1" not in legend(drawn)[1]


def test_fig4_averages_first_then_a_panel_per_task():
    runs = grid(task=["cb", "rte", "wsc"], shots=[8, 16, 32], method=["vanilla", "dpt"], seed=SEEDS)
    figure = fig4(frames(*runs, run(task="cb", method="vanilla")))
    assert titles(figure) == [
        "mean of 3 miniature tasks\ntiny (rankprobe's own)",
        "miniature CB\ntiny (rankprobe's own)",
        "miniature RTE\ntiny (rankprobe's own)",
    ]
    first, cb, *_ = figure.axes
    assert lines(first)["dpt"] == ([8, 16, 32], [62, 62, 62])
    assert lines(cb)["vanilla"] == ([8, 16, 32], [62, 62, 62])
    assert [tick.get_text() for tick in cb.get_xticklabels()] == ["8", "16", "32"]
    assert cb.get_xlabel() == "training rows (shots)"
    assert legend(figure) == (NOTE, ["vanilla", "dpt", "baseline"])
    assert titles(fig4(frames(*runs), tasks=["wsc"]))[1:] == ["miniature WSC\ntiny (rankprobe's own)"]


def test_fig4_has_a_block_of_rows_per_model():
    figure = fig4(frames(*grid(model=["mini", "t5-base"], task=["cb", "copa", "rte", "wic"], shots=[8, 16])))
    assert [title.splitlines()[1] for title in titles(figure)] == ["mini"] * 5 + ["t5-base"] * 5
    assert {
        axes.get_subplotspec().colspan.start for axes in figure.axes if axes.get_title().startswith("mean")
    } == {0}


def test_fig5_has_curves_over_b_and_lines_for_methods_without_b():
    runs = grid(bottleneck=[1, 10, 50], seed=SEEDS, last=70.0)
    runs += [run(method="vanilla", seed=i, last=score) for i, score in enumerate([50.0, 60.0, 100.0])]
    runs += [run(method="vanilla", prompt_length=20), run(method="probe"), run(shots=8)]
    figure = fig5(frames(*runs))
    (axes,) = figure.axes
    assert lines(axes)["dpt"] == ([1, 10, 50], [70, 70, 70])
    assert lines(axes)["vanilla"][1] == [70, 70]
    band = next(patch for patch in axes.patches if patch.get_height() > 1)
    assert (band.get_y(), band.get_y() + band.get_height()) == (50, 100)
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "bottleneck b"
    assert legend(figure) == (NOTE, ["vanilla", "dpt", "baseline"])
    assert figure.get_label().splitlines() == [f"run{i}" for i in range(12)]


def test_fig5_shows_the_papers_numbers():
    runs = grid(bottleneck=[5, 10], data="hub", model=["t5-large"], task="rte") + grid(
        method=["vanilla", "residual"], data="hub", model=["t5-large"], task="rte"
    )
    (axes,) = fig5(frames(*runs)).axes
    assert stars(axes) == [(10, printed("T5-Large", "dpt", "rte"))]
    across = [
        line for line in axes.get_lines() if line.get_label() == "paper, Table 1" and line.get_marker() != "*"
    ]
    assert {(line.get_color(), line.get_ydata()[0]) for line in across} == {
        (method_style(1)["color"], printed("T5-Large", "vanilla", "rte")),
        (method_style(2)["color"], printed("T5-Large", "residual", "rte")),
    }


def test_fig6_is_over_the_prompt_length_with_the_papers_hundred():
    runs = grid(prompt_length=[20, 100, 200], method=THREE, model="t5-base", data="hub", task=["cb", "copa"])
    runs += [run(method="finetune", model="t5-base", data="hub", task="cb", last=90.0)]
    cb, copa = fig6(frames(*runs)).axes
    assert (cb.get_title(), copa.get_title()) == ("CB\nt5-base", "COPA\nt5-base")
    assert lines(cb)["residual"] == ([20, 100, 200], [61, 61, 61])
    assert lines(cb)["finetune"][1] == [90, 90]
    assert sorted(stars(cb)) == sorted((100, printed("T5-Base", method, "cb")) for method in THREE)
    assert cb.get_xlabel() == "prompt length n (tokens)"
    assert cb.get_ylabel() == "dev accuracy, last step (%)"
    assert fig6(frames(*runs), score="best").axes[0].get_ylabel() == "dev accuracy, best step (%)"


def test_fig7_has_short_prompts_side_by_side():
    runs = grid(prompt_length=[6, 10, 20], bottleneck=2, seed=SEEDS) + grid(
        method="vanilla", prompt_length=[6, 10], last=80.0
    )
    figure = fig7(
        frames(
            *runs,
            *grid(prompt_length=[6, 10], bottleneck=10),
            run(method="vanilla", task="cb", prompt_length=6),
        )
    )
    (axes,) = figure.axes
    assert lines(axes)["vanilla"] == ([-0.15, 0.85], [80, 80])
    assert lines(axes)["dpt"] == ([0.15, 1.15], [62, 62])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["6", "10"]


def test_fig8_draws_three_marks_and_the_trained_parameters():
    runs = [run(bottleneck=b, seed=i, last=60.0 + b / 100 * i) for b in (10, 10000) for i in (0, 1)]
    (axes,) = fig8(frames(*runs, run(bottleneck=50, task="cb"), run(bottleneck=2))).axes
    found = lines(axes)
    assert found["dpt, least"] == ([10, 10000], [60, 60])
    assert found["dpt, average"] == ([10, 10000], [60.05, 110])
    assert found["dpt, greatest"] == ([10, 10000], [60.1, 160])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["10\n2.3K", "10,000\n2.3M"]
    assert {line.get_marker() for line in axes.get_lines()} >= {"D", "^", "v"}


def test_different_settings_are_separate_named_curves():
    runs = grid(bottleneck=[1, 10], learning_rate=[0.3, 0.01])
    figure = fig5(frames(*runs))
    assert legend(figure) == (
        "one seed",
        ["dpt, learning_rate = 0.01", "dpt, learning_rate = 0.3", "baseline"],
    )
    marks = [line.get_markerfacecolor() for line in figure.axes[0].get_lines()[:2]]
    assert marks == [method_style(3)["color"], "white"]


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        (fig1, "fig1 needs finished runs of the same tasks for every method, on all training rows, and there are none; "
               "make some: rankprobe sweep experiments/table1_superglue.toml"),
        (fig4, "fig4 needs finished runs on few training rows (--shots), and there are none; "
               "make some: rankprobe sweep experiments/fig4_few_shot.toml"),
        (fig5, "fig5 needs finished runs of dpt, and there are none; "
               "make some: rankprobe sweep experiments/fig5_bottleneck.toml"),
        (fig6, "fig6 needs finished runs with a prompt, and there are none; "
               "make some: rankprobe sweep experiments/fig6_prompt_length.toml"),
        (fig7, "fig7 needs finished runs of dpt with b = 2 and n = 6 or 10, and there are none; "
               "make some: rankprobe sweep experiments/fig7_short_prompts.toml"),
        (fig8, "fig8 needs finished runs of dpt with a bottleneck b above the prompt length n, and there are none; "
               "make some: rankprobe sweep experiments/fig8_large_bottlenecks.toml"),
    ],
)  # fmt: skip
def test_without_runs_the_error_names_the_command(figure, message):
    for loaded in (frames(), frames(run(status="running")), frames(run(method="vanilla", status="failed"))):
        with pytest.raises(RankprobeError) as error:
            figure(loaded)
        assert str(error.value) == message


def test_figures_for_other_models_are_aliases():
    assert ALIASES == {"fig10": "fig5", "fig11": "fig6", "fig12": "fig7", "fig13": "fig8", "fig14": "fig8"}
    assert set(ALIASES.values()) <= set(FIGURES)
    assert (
        list(FIGURES)
        == "fig1 fig3 fig4 fig5 fig6 fig7 fig8 fig9 truncation grid controls used length taskrank".split()
    )
