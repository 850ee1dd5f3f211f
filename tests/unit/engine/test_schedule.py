from __future__ import annotations

import pytest

from finetide.engine.schedule import factor


def test_the_rate_rises_and_falls() -> None:
    rates = [factor(step, 100, schedule="linear", warmup_share=0.1) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == 1.0
    assert rates[10] == 1.0
    assert rates[-1] == pytest.approx(1 / 90)
    assert factor(99, 100, schedule="constant", warmup_share=0.0) == 1.0
    assert factor(50, 100, schedule="cosine", warmup_share=0.0) == pytest.approx(0.5)
