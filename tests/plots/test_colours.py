"""Curves that share a panel differ to readers with any colour vision, and stand out from the white ground."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from rankprobe.paper import method_order
from rankprobe.plots.calibration import READING_STYLES
from rankprobe.plots.nulls import DOTS, TWIN_COLOUR, VARIANT_STYLES
from rankprobe.plots.over_training import INVALID_LINE, SCORE_COLOUR, STEP_COLOURS
from rankprobe.plots.spectra import EDGE_LINES
from rankprobe.plots.style import BASELINE_LINE, COLOURS, contrast, method_style
from rankprobe.plots.truncation import CURVES
from rankprobe.prompts import METHODS

PALETTES = {
    "methods": [method_style(position)["color"] for position, _ in enumerate(method_order(METHODS))],
    "signs and their twins": [*COLOURS["n_positive"], *COLOURS["n_negative"]],
    "ranks and their twins": [*COLOURS["P_numerical_rank"], *COLOURS["P_erank_rv"]],
    "grid": [colour for pair, _ in VARIANT_STYLES for colour in pair],
    "controls": [*(dots["color"] for dots in DOTS.values()), TWIN_COLOUR],
    "truncation": [colour for _, colour, _ in CURVES.values()],
    "spectra": [*STEP_COLOURS, *(colour for colour, _ in EDGE_LINES)],
    "scores": [SCORE_COLOUR, INVALID_LINE["color"]],
    "calibration": [colour for colour, _ in READING_STYLES],
}

VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""Matrices on linear RGB. Source: Machado, Oliveira and Fernandes (2009), Table 1, severity 1."""

TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(colour: str, vision: str) -> np.ndarray:
    """CIELAB (D65) of a colour as a reader with this vision sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
    ratio = TO_XYZ @ seen / TO_XYZ.sum(axis=1)
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def delta_e(one: np.ndarray, other: np.ndarray) -> float:
    """CIEDE2000. Source: Sharma, Wu and Dalal (2005), equations 2 to 22."""
    chroma = np.hypot(one[1:2], one[2]) + np.hypot(other[1:2], other[2])
    mean = float(chroma[0]) / 2
    g = 0.5 * (1 - np.sqrt(mean**7 / (mean**7 + 25**7)))
    (l1, a1, b1), (l2, a2, b2) = one, other
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (float(np.degrees(np.arctan2(b, a))) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = h2 - h1
    if abs(turn) > 180:
        turn -= np.sign(turn) * 360
    if c1 * c2 == 0:
        turn, middle = 0.0, h1 + h2
    elif abs(h1 - h2) <= 180:
        middle = (h1 + h2) / 2
    else:
        middle = (h1 + h2 + (360 if h1 + h2 < 360 else -360)) / 2
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    light, c = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * np.cos(np.radians(middle - 30))
        + 0.24 * np.cos(np.radians(2 * middle))
        + 0.32 * np.cos(np.radians(3 * middle + 6))
        - 0.20 * np.cos(np.radians(4 * middle - 63))
    )
    s_l = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    s_c, s_h = 1 + 0.045 * c, 1 + 0.015 * c * t
    rotation = (
        -np.sin(np.radians(60 * np.exp(-(((middle - 275) / 25) ** 2)))) * 2 * np.sqrt(c**7 / (c**7 + 25**7))
    )
    parts = ((l2 - l1) / s_l, (c2 - c1) / s_c, hue / s_h)
    return float(np.sqrt(sum(part**2 for part in parts) + rotation * parts[1] * parts[2]))


def test_delta_e_gives_the_published_values():
    """Pairs 1, 7, 17 and 25 of Sharma, Wu and Dalal (2005), Table 1."""
    for one, other, expected in (
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ):
        assert delta_e(np.array(one, dtype=float), np.array(other, dtype=float)) == pytest.approx(
            expected, abs=1e-4
        )


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("palette", PALETTES)
def test_colours_of_one_panel_differ(palette, vision):
    close = {
        (one, other): round(difference, 1)
        for one, other in combinations(PALETTES[palette], 2)
        if (difference := delta_e(lab(one, vision), lab(other, vision))) < 10
    }
    assert close == {}


@pytest.mark.parametrize("palette", PALETTES)
def test_lines_stand_out_from_the_ground(palette):
    assert {colour: contrast(colour) for colour in PALETTES[palette] if contrast(colour) < 3} == {}
    assert contrast(BASELINE_LINE["color"]) > 3


def test_further_curves_of_a_method_stand_out_too():
    for position, _ in enumerate(METHODS):
        for variant in range(6):
            assert contrast(method_style(position, variant)["color"]) >= 3


def test_contrast_of_known_colours():
    assert contrast("#000000") == pytest.approx(21)
    assert contrast("#767676") == pytest.approx(4.54, abs=0.01)
    assert contrast("#ffffff") == 1
