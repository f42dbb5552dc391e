"""What `benchmarks/serving.py` makes of what it has measured: ratios, verdicts, the table. Nothing is run."""

import pytest
from serving import Blocks, Verdict, ratios, table, verdicts

LOAD = {"rate": 50.0, "p50_ms": 10.0, "p99_ms": 25.0, "p99_to_p50": 2.5, "megabytes": 300.0}
OURS = Blocks(p50=[10.0, 20.0, 10.0], throughput=[100.0, 50.0, 100.0])


def _times(factor: float) -> Blocks:
    """A candidate that takes `factor` times as long as ours in every round, and answers as much less."""
    return Blocks([each * factor for each in OURS.p50], [each / factor for each in OURS.throughput])


def _judged(
    *, load: dict[str, float] = LOAD, starts: list[float] | None = None, **others: Blocks
) -> dict[str, Verdict]:
    found = {"ours": OURS} | {name.replace("_", " "): blocks for name, blocks in others.items()}
    return {verdict.target: verdict for verdict in verdicts(found, load, starts)}


def test_ratios_are_of_each_round_and_not_of_the_medians() -> None:
    """The second round ran on a machine that was twice as slow, for both."""
    assert ratios([10.0, 20.0, 10.0], [50.0, 100.0, 40.0]) == {"median": 5.0, "lowest": 4.0, "highest": 5.0}


def test_rounds_that_one_of_them_missed_are_no_ratios() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([10.0, 20.0], [50.0])


@pytest.mark.parametrize(("factor", "met"), [(4.9, False), (5.0, True), (5.1, True)])
def test_torchserve_as_shipped_must_take_five_times_as_long(factor: float, met: bool) -> None:
    judged = _judged(**{"TorchServe 2×2": _times(factor)})
    assert judged["p50, one client: TorchServe as shipped ≥ 5×"].met is met


def test_of_torchserves_settings_the_best_counts_for_time_and_for_throughput() -> None:
    quick, busy = Blocks(_times(4.4).p50, _times(9).throughput), Blocks(_times(9).p50, _times(4.8).throughput)
    judged = _judged(**{"TorchServe 1×2": quick, "TorchServe 2×1": busy})
    assert judged["p50, one client: TorchServe's best ≥ 4.5×"] == Verdict(
        "p50, one client: TorchServe's best ≥ 4.5×", "4.4×", met=False
    )
    assert judged["throughput, eight clients: ≥ 5× TorchServe's best"].found == "4.8×"
    assert not judged["throughput, eight clients: ≥ 5× TorchServe's best"].met
    assert "p50, one client: TorchServe as shipped ≥ 5×" not in judged


@pytest.mark.parametrize(
    ("share", "near", "fast"), [(0.95, True, True), (0.935, False, True), (0.9, False, False)]
)
def test_the_limit_may_be_six_percent_quicker_and_seven_percent_busier(
    share: float, near: bool, fast: bool
) -> None:
    judged = _judged(limit=_times(share))
    assert judged["p50, one client: within 6 % of the limit"].met is near
    assert judged["throughput, eight clients: ≥ 93 % of the limit"].met is fast


def test_without_rivals_and_containers_only_the_load_is_judged() -> None:
    assert list(_judged()) == ["p99 / p50 at 80 % load ≤ 3", "memory after load ≤ 400 MB"]


@pytest.mark.parametrize(
    ("load", "starts", "missed"),
    [
        ({}, [2.0, 2.4, 9.0], set()),
        ({"p99_to_p50": 3.1}, [2.0], {"p99 / p50 at 80 % load ≤ 3"}),
        ({"megabytes": 401.0}, [2.0], {"memory after load ≤ 400 MB"}),
        ({}, [2.0, 2.6, 2.7], {"docker run → first answer ≤ 2.5 s"}),
    ],
)
def test_a_target_that_is_missed_is_said_to_be(
    load: dict[str, float], starts: list[float], missed: set[str]
) -> None:
    judged = _judged(load=LOAD | load, starts=starts)
    assert {target for target, verdict in judged.items() if not verdict.met} == missed


def test_the_table_has_a_line_for_each_with_ours_at_one() -> None:
    heading, ours, rival = table({"ours": OURS, "a rival": _times(2)})
    assert "p50 ms" in heading
    assert ours.split() == ["ours", "10.0", "1.00", "1.00–1.00", "100.0", "1.00", "1.00–1.00"]
    assert rival.split() == ["a", "rival", "20.0", "2.00", "2.00–2.00", "50.0", "0.50", "0.50–0.50"]
