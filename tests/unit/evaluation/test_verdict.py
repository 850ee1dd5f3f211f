import numpy as np
import pytest

from finetide.config.judge import JudgeParams
from finetide.evaluation.verdict import judge

LABELS = ("a", "b", "c", "d")


def settings(**changes) -> JudgeParams:
    values = {
        "metric": "accuracy",
        "confidence": 0.95,
        "non_inferiority_margin": 0.01,
        "slice_margin": 0.15,
        "min_slice_rows": 10,
        "floor": 0.5,
        "label_floor": 0.2,
        "bootstrap": 500,
    }
    return JudgeParams(**{**values, **changes})


def sample(rows: int = 400) -> tuple[list[str], list[str]]:
    """Labels in turn; the first half is reference."""
    truth = [LABELS[i % 4] for i in range(rows)]
    return truth, ["reference"] * (rows // 2) + ["incoming"] * (rows - rows // 2)


def spoil(truth: list[str], rows: list[int]) -> list[str]:
    """Right everywhere but in ``rows``."""
    wrong = set(rows)
    return [LABELS[(LABELS.index(label) + 1) % 4] if i in wrong else label for i, label in enumerate(truth)]


def decide(challenger, champion, params=None, truth=None, roles=None):
    known, sides = sample()
    return judge(truth or known, challenger, champion, roles or sides, params or settings(), seed=3)


def test_a_better_challenger_wins():
    truth, _ = sample()
    found = decide(spoil(truth, list(range(20))), spoil(truth, list(range(60))))
    assert found.promote
    assert found.against.value == pytest.approx(0.1)
    assert found.against.low > 0
    assert found.p < 0.001
    assert found.sentence("accuracy").startswith(
        "accuracy 0.950 on 400 test rows, against the champion +0.100 (interval"
    )
    assert found.sentence("accuracy").endswith("), where 0.01 may be lost, and no slice is worse")


def test_an_equal_challenger_wins():
    truth, _ = sample()
    same = spoil(truth, [1, 2, 3])
    found = decide(same, same)
    assert found.promote
    assert (found.against.value, found.against.low, found.against.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_worse_challenger_loses():
    truth, _ = sample()
    found = decide(spoil(truth, list(range(60))), spoil(truth, list(range(20))))
    assert not found.promote
    assert found.reasons[0].startswith("significantly worse than the champion: accuracy -0.100 (interval -0.1")


def test_a_significant_loss_within_the_margin_loses_too():
    truth, _ = sample()
    found = decide(spoil(truth, list(range(20))), truth, settings(non_inferiority_margin=0.2))
    assert not found.promote
    assert "significantly worse than the champion" in found.sentence("accuracy")


def test_a_loss_beyond_the_margin_loses_without_being_significant():
    truth, _ = sample()
    # 40 wrong against 34 wrong, elsewhere: 1.5 points, far from significant.
    anywhere = np.random.default_rng(0).permutation(400).tolist()
    found = decide(spoil(truth, anywhere[:40]), spoil(truth, anywhere[40:74]))
    assert found.p > 0.3
    assert found.reasons == (
        f"loses more than the margin of 0.01 against the champion: accuracy -0.015 "
        f"(interval {found.against.low:+.3f} to {found.against.high:+.3f})",
    )


def test_a_loss_of_exactly_the_margin_is_no_loss():
    truth, _ = sample()
    found = decide(spoil(truth, list(range(40, 84))), spoil(truth, list(range(100, 140))))
    assert found.against.value == pytest.approx(-0.01)
    assert found.promote


def test_a_challenger_that_is_worse_on_one_label_only_loses():
    truth, _ = sample()
    of_d = [i for i, label in enumerate(truth) if label == "d"]
    elsewhere = [i for i, label in enumerate(truth) if label != "d"]
    found = decide(spoil(truth, of_d[:40]), spoil(truth, elsewhere[:60]))
    assert found.against.value > 0
    assert [part.slice for part in found.slices if not part.passed] == ["label:d"]
    assert found.reasons[0].startswith("label:d: loses 0.400 against the champion, more than 0.15 (p = ")


def test_a_challenger_that_forgets_the_reference_loses():
    truth, roles = sample()
    old = [i for i, role in enumerate(roles) if role == "reference"]
    new = [i for i, role in enumerate(roles) if role == "incoming"]
    found = decide(spoil(truth, old[:50]), spoil(truth, new[:90]))
    assert found.against.value > 0
    lost = {part.slice: part.passed for part in found.slices}
    assert lost["role:reference"] is False
    assert lost["role:incoming"] is True
    assert not found.promote


def test_a_slice_that_loses_by_chance_is_shown_and_accepted():
    truth, roles = sample(80)
    of_d = [i for i, label in enumerate(truth) if label == "d"]
    elsewhere = [i for i, label in enumerate(truth) if label != "d"]
    found = decide(spoil(truth, of_d[:4]), spoil(truth, elsewhere[:4]), truth=truth, roles=roles)
    part = next(part for part in found.slices if part.slice == "label:d")
    assert part.difference == pytest.approx(-0.2)
    assert part.passed
    assert part.reason.startswith("loses, but not more than chance does (p = ")
    assert found.promote


def test_many_slices_are_corrected_for_their_number():
    # One label of 20 loses 5 of 10 rows: 1/32 alone, and with 21 slices no evidence at all.
    truth = [f"l{i % 20:02d}" for i in range(200)]
    of_one = [i for i, label in enumerate(truth) if label == "l00"]
    challenger = [("x" if i in of_one[:5] else label) for i, label in enumerate(truth)]
    champion = [("x" if label == "l01" and i < 110 else label) for i, label in enumerate(truth)]
    found = judge(truth, challenger, champion, ["reference"] * 200, settings(), seed=1)
    assert found.promote
    few = [i for i, label in enumerate(truth) if label in ("l00", "l01")]
    pick = [[values[i] for i in few] for values in (truth, challenger, champion)]
    alone = judge(*pick, ["reference"] * len(few), settings(confidence=0.9), seed=1)
    assert [part.slice for part in alone.slices if not part.passed] == ["label:l00"]


def test_a_small_slice_is_shown_and_not_judged():
    truth, roles = sample(200)
    truth = ["rare" if i < 9 else label for i, label in enumerate(truth)]
    challenger = ["a" if label == "rare" else label for label in truth]
    champion = ["b" if i > 100 and label == "a" else label for i, label in enumerate(truth)]
    found = decide(challenger, champion, truth=truth, roles=roles)
    part = next(part for part in found.slices if part.slice == "label:rare")
    assert (part.rows, part.challenger, part.champion, part.passed) == (9, 0.0, 1.0, True)
    assert part.reason == "shown, not judged: 9 rows of the 10 needed"


def test_a_label_below_the_floor_loses_where_the_champion_is_above_it():
    truth, roles = sample(40)
    of_d = [i for i, label in enumerate(truth) if label == "d"]
    # 1 of 10 right against 2 of 10: within the margin, not significant, and below the floor of 0.2.
    elsewhere = [i for i, label in enumerate(truth) if label != "d"]
    found = decide(spoil(truth, of_d[:9]), spoil(truth, [*of_d[:8], *elsewhere[:3]]), truth=truth, roles=roles)
    assert found.reasons == ("label:d: 0.100 of its rows are right, below the floor of 0.2; the champion has 0.200",)


def test_a_label_below_the_floor_passes_where_the_champion_is_no_better():
    truth, roles = sample(40)
    of_d = [i for i, label in enumerate(truth) if label == "d"]
    found = decide(spoil(truth, of_d[:9]), spoil(truth, of_d), truth=truth, roles=roles)
    assert found.promote
    assert found.slices[-1].reason == "below the floor, as is the champion"


def test_without_a_champion_the_floors_decide():
    truth, _ = sample()
    good = decide(spoil(truth, list(range(100))), None)
    assert good.promote
    assert (good.champion, good.against, good.p) == (None, None, None)
    assert all(part.champion is None and part.low is None for part in good.slices)
    assert good.sentence("accuracy") == (
        "accuracy 0.750 on 400 test rows, every floor is reached, and there is no champion to beat"
    )
    worse = decide(spoil(truth, list(range(240))), None, settings(metric="macro_f1"))
    assert worse.reasons[0] == "macro-F1 0.400 is below the floor of 0.5"
    bad = decide(spoil(truth, list(range(240))), None)
    assert bad.reasons[0] == "accuracy 0.400 is below the floor of 0.5"


def test_without_a_champion_a_label_below_its_floor_loses():
    truth, _ = sample()
    of_d = [i for i, label in enumerate(truth) if label == "d"]
    found = decide(spoil(truth, of_d), None)
    assert found.reasons == ("label:d: 0.000 of its rows are right, below the floor of 0.2",)


def test_the_floor_holds_against_a_bad_champion_too():
    truth, _ = sample()
    found = decide(spoil(truth, list(range(210))), spoil(truth, list(range(300))))
    assert found.reasons == ("accuracy 0.475 is below the floor of 0.5",)


def test_a_champion_that_does_not_know_a_new_label_is_wrong_there():
    truth, roles = sample(80)
    champion = ["a" if label == "d" else label for label in truth]
    found = decide(truth, champion, truth=truth, roles=roles)
    assert found.promote
    assert found.champion == pytest.approx(0.75)
    assert next(part for part in found.slices if part.slice == "label:d").champion == 0.0


def test_macro_f1_sees_a_rare_label_that_accuracy_does_not():
    truth = ["a"] * 188 + ["b"] * 12
    challenger = ["a"] * 188 + ["b"] * 6 + ["a"] * 6
    champion = ["b"] * 5 + ["a"] * 183 + ["b"] * 12
    roles = ["reference"] * 200
    by_accuracy = judge(truth, challenger, champion, roles, settings(slice_margin=0.6), seed=1)
    by_f1 = judge(truth, challenger, champion, roles, settings(metric="macro_f1", slice_margin=0.6), seed=1)
    assert by_accuracy.promote
    assert not by_f1.promote
    assert "champion: macro-F1 -0.082 (" in by_f1.reasons[0]


def test_no_test_row_is_no_ground_for_promotion():
    found = judge([], [], None, [], settings(), seed=1)
    assert not found.promote
    assert found.sentence("accuracy") == "there is no labelled test row to judge on"


def test_the_seed_decides_the_interval():
    truth, roles = sample()
    pair = spoil(truth, list(range(30))), spoil(truth, list(range(20, 55)))
    one, same, other = (judge(truth, *pair, roles, settings(), seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.against != other.against


def test_equally_good_challengers_are_promoted_on_few_rows_more_often_than_not():
    # What the textbook's rule (the lower end of the interval) would never do on 150 rows.
    chance = np.random.default_rng(5)
    truth, roles = sample(150)
    promoted = 0
    for seed in range(60):
        pair = [spoil(truth, np.flatnonzero(chance.random(150) < 0.1).tolist()) for _ in range(2)]
        promoted += judge(truth, *pair, roles, settings(bootstrap=100), seed=seed).promote
    assert promoted > 30
