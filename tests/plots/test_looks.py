"""Two looks, a style per method, and no overlaps: text is measured on the drawn figure."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from fake_runs import frames, grid, run
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from rankprobe.errors import RankprobeError
from rankprobe.paper import method_order
from rankprobe.plots import LOOKS, controls, fig1, fig4, fig5, fig6, fig9, save, style
from rankprobe.plots import grid as over_rates
from rankprobe.plots.marks import short_count
from rankprobe.plots.panels import even_columns, panel_blocks
from rankprobe.plots.style import METHOD_STYLES, method_style
from rankprobe.prompts import METHODS

ALL = ["wsc", "wic", "boolq", "cb", "copa", "multirc", "record", "rte"]
WITHOUT_PROBE = [name for name in method_order(METHODS) if name != "probe"]


def lightness(colour: str) -> float:
    return float(np.dot(to_rgb(colour), [0.299, 0.587, 0.114]))


def test_every_method_has_a_style_that_is_distinct_in_greyscale():
    assert sorted(method_order(METHODS)) == sorted(METHODS)
    styles = [method_style(position) for position in range(len(METHODS))]
    for one, other in combinations(styles, 2):
        assert abs(lightness(one["color"]) - lightness(other["color"])) > 0.04
        assert one["marker"] != other["marker"]
    assert max(lightness(style["color"]) for style in styles) < 0.8


def test_styles_repeat_after_the_last_one():
    assert method_style(len(METHOD_STYLES)) == method_style(0)


def test_further_curves_of_a_method_are_lighter_with_open_marks():
    first, second, third = (method_style(3, variant) for variant in range(3))
    assert first["color"] == first["markerfacecolor"] == METHOD_STYLES[3]["color"]
    assert lightness(first["color"]) < lightness(second["color"]) < lightness(third["color"]) < 0.85
    assert second["markerfacecolor"] == "white"


def overlaps(figure) -> list[tuple[str, str]]:
    """Pairs of texts that overlap, and texts that extend beyond the figure."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    renderer = canvas.get_renderer()
    texts = [axes.title for axes in figure.axes]
    for axes in (panel for panel in figure.axes if panel.axison):
        texts += [axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = axis.get_view_interval()
            marked = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
            texts += [label for at, label in marked if min(low, high) <= at <= max(low, high)]
    for legend in figure.legends:
        texts += [*legend.get_texts(), legend.get_title()]
    boxes = [
        (text.get_text(), text.get_window_extent(renderer).shrunk(0.95, 0.9))
        for text in texts
        if text.get_text() and text.get_visible()
    ]
    beyond = [
        (name, "the edge")
        for name, box in boxes
        if box.x0 < 0 or box.y0 < 0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1
    ]
    return beyond + [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]


CROWDED = {
    "fig1": (
        fig1,
        grid(task=ALL, method=WITHOUT_PROBE, learning_rate=[0.3, 0.01], model=["t5-base", "t5-large"]),
    ),
    "fig4": (
        fig4,
        grid(task=["cb", "rte"], shots=[8, 16, 32], method=WITHOUT_PROBE, model=["tiny", "t5-base"]),
    ),
    "fig5": (fig5, grid(task=ALL, bottleneck=[1, 2, 5, 10, 20, 50, 100], learning_rate=[0.3, 0.01])),
    "fig6": (
        fig6,
        grid(
            task=ALL, prompt_length=[6, 10, 20, 50, 100, 200], method=WITHOUT_PROBE, learning_rate=[0.3, 0.1]
        ),
    ),
    "one": (fig6, grid(prompt_length=[10, 100, 200], method=WITHOUT_PROBE, data=["bundled", "bundled-500"])),
    "controls": (
        controls,
        grid(method="probe", task=ALL, control=["none", "shuffle-labels"], model=["mini", "tiny"]),
    ),
    "grid": (
        over_rates,
        grid(method="probe", learning_rate=[0.01, 0.03, 0.1, 0.3], sigma_init=["ones", "half-normal"]),
    ),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", CROWDED)
def test_texts_do_not_overlap(name, look):
    figure, runs = CROWDED[name]
    drawn = figure(frames(*runs), look=look)
    assert overlaps(drawn) == []
    if look == "paper":
        assert drawn.get_figwidth() in (3.3, 6.8)


@pytest.mark.parametrize("look", LOOKS)
def test_many_groups_of_fig9_wrap_in_pairs_of_rows(look):
    from test_plots import frames as logged

    figure = fig9(logged(*({"learning_rate": 0.01 * i} for i in range(1, 8))), look=look)
    assert overlaps(figure) == []
    assert figure.get_figwidth() <= 13.2
    drawn = [axes for axes in figure.axes if axes.get_lines()]
    assert len(drawn) == 14
    signs = [axes for axes in drawn if axes.get_ylabel() == "entries of σ"]
    ranks = [axes for axes in drawn if axes.get_ylabel() == "rank of P"]
    for upper, lower in zip(signs, ranks, strict=True):
        above, below = upper.get_subplotspec(), lower.get_subplotspec()
        assert below.rowspan.start == above.rowspan.start + 1
        assert below.colspan.start == above.colspan.start


def test_a_curve_at_zero_is_visible_without_negative_ticks():
    from test_plots import frames as logged

    (axes, *_) = fig9(logged({})).axes
    assert axes.get_ylim()[0] == 0
    assert min(axes.get_yticks()) == 0
    assert axes.spines["bottom"].get_position() == ("outward", 4)
    assert not any(line.get_clip_on() for line in axes.get_lines())


def test_panels_fill_their_rows_evenly():
    assert [even_columns(count, LOOKS["screen"]) for count in (1, 4, 5, 8, 9)] == [1, 4, 3, 4, 3]
    assert [even_columns(count, LOOKS["paper"]) for count in (1, 2, 4, 8)] == [1, 2, 2, 3]
    _, (first, second) = panel_blocks([5, 2], LOOKS["screen"])
    assert [axes.get_subplotspec().rowspan.start for axes in first + second] == [0, 0, 0, 1, 1, 2, 2]
    with pytest.raises(
        RankprobeError, match="121 panels are too many; expected at most 120: choose runs with --run"
    ):
        panel_blocks([121], LOOKS["screen"])


def test_the_paper_look_is_also_saved_as_pdf_and_names_its_runs(tmp_path):
    loaded = frames(*grid(bottleneck=[1, 10]), run(method="probe"))
    paths = save(fig5(loaded, look="paper"), "fig5", loaded, tmp_path / "a", "paper")
    again = save(fig5(loaded, look="paper"), "fig5", loaded, tmp_path / "b", "paper")
    assert [path.name for path in paths] == ["fig5.png", "fig5.svg", "fig5.pdf", "fig5.json"]
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    provenance = json.loads(paths[-1].read_text())
    assert provenance["look"] == "paper"
    assert [run["run_id"] for run in provenance["runs"]] == ["run0", "run1"]


def test_an_unknown_look_is_refused():
    with (
        pytest.raises(
            RankprobeError,
            match=r"unknown look 'papr'; did you mean 'paper'\? \(valid: page, paper, screen\)",
        ),
        style("papr"),
    ):
        pass


def test_numbers_of_parameters_are_short():
    assert [short_count(count) for count in (0, 999, 1000, 99_949, 462_000, 11_240_000, 770e6)] == [
        "0", "999", "1.0K", "99.9K", "462K", "11.2M", "770M",
    ]  # fmt: skip
