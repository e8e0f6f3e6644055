"""Nearest rows, compared with values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rankprobe.errors import RankprobeError
from rankprobe.rank import nearest

WORDS = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [0.0, 0.0]])


def test_nearest_by_hand():
    P = np.array([[2.0, 0.0], [-1.0, -1.0]])
    order, values = nearest(P, WORDS, 3, "cosine")
    assert order.tolist() == [[0, 2, 1], [3, 0, 1]]
    np.testing.assert_allclose(values, [[1, 0.5**0.5, 0], [0, -(0.5**0.5), -(0.5**0.5)]], atol=1e-15)
    order, values = nearest(P, WORDS, 2, "euclidean")
    assert order.tolist() == [[0, 3], [3, 0]]
    np.testing.assert_allclose(values, [[1, 2], [2**0.5, 5**0.5]])


@pytest.mark.parametrize("count", [0, 5])
def test_counts_and_widths_and_metrics_that_do_not_fit(count):
    with pytest.raises(RankprobeError, match=f"^{count} nearest of 4 words; expected 1 to 4$"):
        nearest(WORDS, WORDS, count)
    with pytest.raises(
        RankprobeError, match="has width 1, but the words have width 2; expected the same width$"
    ):
        nearest(WORDS[:, :1], WORDS, 1)
    with pytest.raises(RankprobeError, match="metric is 'dot'; expected cosine or euclidean"):
        nearest(WORDS, WORDS, 1, "dot")
