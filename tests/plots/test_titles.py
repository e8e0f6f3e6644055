"""Titles of panels: wrapped to the width that is left, and a setting stays with its value."""

from __future__ import annotations

import matplotlib.pyplot as plt

from rankprobe.plots.legend import finish_figure
from rankprobe.plots.panels import panels
from rankprobe.plots.style import style

TITLE = "SmolLM2-135M-Instruct, from Q4_1 weights, learning_rate = 0.03"


def wrapped(row_names=()):
    """The lines of the title of one panel, and whether it lies inside of the figure."""
    with style("screen") as look:
        figure, (axes,) = panels(1, look)
        axes.plot([0, 1], [0, 1], label="runs")
        axes.set_title(TITLE)
        if row_names:
            axes.set_yticks(range(len(row_names)), row_names)
        finish_figure(figure, look)
        figure.draw_without_rendering()
        box, width = axes.title.get_window_extent(), figure.bbox.width
        lines = axes.get_title().splitlines()
        plt.close(figure)
    return lines, box.x0 >= 0 and box.x1 <= width


def test_a_setting_stays_on_one_line_with_its_value():
    lines, inside = wrapped()
    assert inside
    assert "learning_rate = 0.03" in lines[-1]
    assert " ".join(lines) == TITLE


def test_a_title_leaves_space_for_the_names_of_rows():
    _, inside = wrapped(["CB, held-back half of dev\nprobe, learning_rate = 0.03"])
    assert inside
