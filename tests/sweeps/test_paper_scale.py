"""The scale `paper`: its cost table is current, and a sweep of it runs, draws and reports what fails."""

from __future__ import annotations

from collections import Counter

import pytest

from experiments import cost, paper_check
from rankprobe.backbone.shapes import T5_ROWS, skeleton
from rankprobe.cli import main
from rankprobe.config.run import RunConfig
from rankprobe.plots import FIGURES
from rankprobe.reports import TABLES


def test_the_table_of_gpu_hours_is_that_of_the_specs():
    page = cost.README.read_text()
    assert page == cost.with_table(page, cost.markdown(cost.cost_table()))


def test_every_experiment_draws_what_exists_and_its_runs_have_a_cost():
    specs = cost.paper_specs()
    assert len(specs) >= 13
    drawn = Counter(name for spec in specs.values() for name in spec.draws)
    assert set(drawn) <= {*FIGURES, *TABLES}
    for name, spec in specs.items():
        configs = cost.configs_of(spec, "paper")
        assert configs, name
        assert all(cost.cost_of(config).hours() > 0 for config in configs)
        assert {config.model for config in configs} <= set(paper_check.SHAPES)


@pytest.mark.parametrize("shape", ["t5-small", "t5-base", "t5-large"])
def test_a_pass_costs_two_operations_per_weight_and_token(shape):
    import torch

    with torch.device("meta"):
        model = skeleton(shape)
    parts = {"encoder": 0, "decoder": 0}
    for name, weight in model.named_parameters():
        part = name.partition(".")[0]
        if part in parts and weight.dim() == 2 and "embed" not in name and "bias" not in name:
            parts[part] += weight.numel()
    output = model.config.d_model * T5_ROWS
    width = model.config.d_kv * model.config.num_heads
    expected = 2 * parts["encoder"] * 300 + 4 * model.config.num_layers * width * 300**2
    expected += 2 * (parts["decoder"] + output) * 3
    assert cost.forward_flop(shape, 300, 3) == pytest.approx(expected)


def test_steps_and_evaluations_are_counted():
    base = {"task": "cb", "model": "t5-base", "method": "vanilla", "data": "hub"}

    def count(**settings):
        return cost.cost_of(RunConfig.parse(base | settings))

    forward = cost.forward_flop("t5-base", 100 + 93.3, 2.5)
    assert count().training == pytest.approx(2 * 100 * 250 * forward)
    assert count().evaluation == pytest.approx(101 * 56 * forward)
    assert count(shots=8).training == pytest.approx(2 * 100 * 8 * forward)
    assert count(shots=8, eval_every=100).evaluation == pytest.approx(2 * 56 * forward)
    assert count(steps=10).training == pytest.approx(2 * 160 * forward)
    whole = count(method="finetune", dtype="float32")
    assert whole.float32
    assert whole.training == pytest.approx(3 * 100 * 250 * cost.forward_flop("t5-base", 93.3, 2.5))


def here(arguments):
    """Run a command in this process, which is faster than `paper_check.run`."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return "failed" if stop.value.code else None


def test_the_check_runs_the_commands_of_an_experiment_and_names_what_fails(tmp_path, capsys, monkeypatch):
    shapes = dict.fromkeys(paper_check.SHAPES, "random:tiny")
    options = {"only": ["fig3_emergence"], "shapes": shapes}
    with monkeypatch.context() as patch:
        patch.setattr(paper_check, "run", here)
        assert paper_check.check("bundled", None, tmp_path / "right", **options, extra={"seed": 1}) == []
    assert (tmp_path / "right" / "figures" / "fig3_emergence" / "fig3.png").exists()
    (problem,) = paper_check.check("bundled", None, tmp_path / "wrong", **options, extra={"steps": 0})
    assert "steps is 0; expected greater than 0" in problem
    assert "FAILED rankprobe sweep" in capsys.readouterr().out


def test_the_check_gives_commands_only_options_that_they_have(tmp_path, capsys):
    for arguments in paper_check.drawing_commands(["table1", "fig1"], tmp_path, tmp_path / "figures"):
        with pytest.raises(SystemExit):
            main(arguments)
        assert "No such option" not in capsys.readouterr().err


def test_the_check_takes_the_first_rows_of_each_task(tmp_path):
    for name in ("train", "val", "test"):
        (tmp_path / "from" / "CB").mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / "CB" / f"{name}.jsonl").write_text("".join(f"{i}\n" for i in range(50)))
    folder = paper_check.few_rows(tmp_path / "from", tmp_path / "to")
    kept = {path.name: path.read_text().split() for path in folder.rglob("*.jsonl")}
    assert {name: len(rows) for name, rows in kept.items()} == {"train.jsonl": 32, "val.jsonl": 2}
    assert kept["val.jsonl"] == ["0", "1"]
