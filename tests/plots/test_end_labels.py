"""Names at the ends of curves: in the order of the curves, apart, inside of the figure, and named in words."""

from __future__ import annotations

from itertools import pairwise

import pytest
from matplotlib.text import Text

from rankprobe.plots import style
from rankprobe.plots.alt import series_of
from rankprobe.plots.end_labels import CurveEnd, label_ends
from rankprobe.plots.panels import panels


def labelled(*heights: float):
    """A panel from 0 to 100 with a curve that ends at each height."""
    with style("screen") as look:
        figure, (axes,) = panels(1, look)
        for height in heights:
            axes.plot([0, 1], [0, height], color=f"#0000{height:02x}")
        axes.set_ylim(0, 100)
        ends = [
            CurveEnd(1, y, f"the curve that ends at {y}", "5.8 to 11.4", f"#0000{y:02x}", "#000000")
            for y in heights
        ]
        label_ends(figure, {axes: ends}, look)
        figure.draw_without_rendering()
        return figure, axes


@pytest.mark.parametrize("heights", [(50, 50, 50, 50), (100, 99, 98, 97), (0, 1, 2, 3), (77, 76, 24, 23)])
def test_names_do_not_overlap_and_lie_inside(heights):
    figure, axes = labelled(*heights)
    # Of an annotation, the box has its line too; a plain text's does not.
    boxes = sorted((Text.get_window_extent(text) for text in axes.texts), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 for below, above in pairwise(boxes))
    assert all(box.x0 >= axes.bbox.x1 and box.x1 <= figure.bbox.width for box in boxes)
    assert boxes[0].y0 >= 0
    assert boxes[-1].y1 <= figure.bbox.height


def test_names_keep_the_order_of_the_curves():
    _, axes = labelled(77, 76, 24, 23)
    names = [text.get_label() for text in sorted(axes.texts, key=lambda text: -text.xyann[1])]
    assert names == [f"the curve that ends at {y}" for y in (77, 76, 24, 23)]


def test_words_name_the_curves_by_colour_and_without_values():
    figure, _ = labelled(16, 80)
    assert series_of(figure) == {
        "#000010": "the curve that ends at 16",
        "#000050": "the curve that ends at 80",
    }
