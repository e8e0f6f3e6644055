"""Plans: an experiment becomes many configs, and these become few cohorts."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import QUICK, quick

from rankprobe.errors import RankprobeError
from rankprobe.sweeps import Spec, chosen_scale, configs_of, grid, load_spec, pack, shard

EXPERIMENTS = sorted(Path("experiments").glob("*.toml"))


def settings(configs, *names):
    return [tuple(config.flat().get(name) for name in names) for config in configs]


def test_grid():
    configs = grid({"method": "dpt", **QUICK}, {"bottleneck": [2, 4], "seed": [1, 2, 3]})
    assert settings(configs, "bottleneck", "seed") == [(2, 1), (2, 2), (2, 3), (4, 1), (4, 2), (4, 3)]
    assert grid({"method": "dpt", "seed": [1, 2]}) == grid({"method": "dpt"}, {"seed": [1, 2]})
    with pytest.raises(RankprobeError, match="did you mean 'seed'"):
        grid({}, {"sed": [1]})
    with pytest.raises(RankprobeError, match=r"^seed = \[\] has no values; give one or more$"):
        grid({"seed": []})


def test_a_list_is_an_axis_and_more_specific_values_override():
    spec = Spec(
        title="t",
        settings={"task": "cb", "seed": [1, 2], "steps": 3},
        grid=[{"method": "dpt", "bottleneck": [2, 4]}, {"method": "vanilla", "seed": 7}],
        scale={"bundled": {"prompt_length": 6, "task": "rte"}, "paper": {"prompt_length": 100}},
    )
    found = configs_of(spec)
    assert settings(found, "task", "method", "prompt_length", "bottleneck", "seed") == [
        ("rte", "dpt", 6, 2, 1),
        ("rte", "dpt", 6, 4, 1),
        ("rte", "dpt", 6, 2, 2),
        ("rte", "dpt", 6, 4, 2),
        ("rte", "vanilla", 6, None, 7),
    ]
    assert settings(configs_of(spec, "paper"), "task", "prompt_length")[0] == ("cb", 100)
    changed = configs_of(spec, overrides={"seed": [8, 9], "task": "wic"})
    assert set(settings(changed, "task", "seed")) == {("wic", 8), ("wic", 9)}


def test_a_run_of_two_grids_is_one_run():
    spec = Spec(title="t", grid=[{"bottleneck": [2, 4]}, {"bottleneck": 4}], settings={"method": "dpt"})
    assert settings(configs_of(spec), "bottleneck") == [(2,), (4,)]


def test_an_axis_that_changes_no_result_is_refused():
    spec = Spec(title="t", settings={"device": ["cpu", "cuda"], "steps": 2})
    with pytest.raises(
        RankprobeError,
        match=r"^device is 'cpu' and 'cuda' for run 'cb-.*', but does not change the result; give one value",
    ):
        configs_of(spec)


def test_scales():
    assert chosen_scale(Spec(title="t"), None) == ""
    assert chosen_scale(Spec(title="t", scale={"paper": {}}), None) == "paper"
    assert chosen_scale(Spec(title="t", scale={"paper": {}, "bundled": {}}), None) == "bundled"
    with pytest.raises(RankprobeError, match="^unknown scale 'papr'; did you mean 'paper'"):
        chosen_scale(Spec(title="t", scale={"paper": {}}), "papr")
    with pytest.raises(RankprobeError, match="^'t' has the scales a, b; choose one with --scale$"):
        chosen_scale(Spec(title="t", scale={"a": {}, "b": {}}), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = 'x", "is not TOML"),
        ("titel = 'x'", "unknown setting 'titel'; did you mean 'title'"),
        ("source = 'x'", "the key 'title' is missing"),
        ("title = 'x'\ngrid = 3", "grid is 3; expected a valid list"),
    ],
)
def test_a_file_that_is_not_an_experiment(tmp_path, text, message):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(RankprobeError, match="^experiment '.*x.toml'") as caught:
        load_spec(path)
    assert message in str(caught.value)


def test_no_file():
    with pytest.raises(RankprobeError, match=r"^experiment 'none.toml' cannot be read \(No such file"):
        load_spec("none.toml")


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_has_both_scales(path):
    spec = load_spec(path)
    assert set(spec.scale) == {"bundled", "paper"}
    bundled, paper = configs_of(spec, "bundled"), configs_of(spec, "paper")
    assert {c.data for c in bundled} == {"bundled-500"}
    assert {c.data for c in paper} == {"hub"}
    assert {c.epochs for c in paper} == {100}
    assert {c.steps for c in paper} == {None}


def test_pack_puts_together_what_can_share_a_pass():
    configs = [quick(seed=1), quick(prompt_length=4), quick(method="dpt"), quick(seed=2, learning_rate=1)]
    assert pack(configs) == [[configs[0], configs[2], configs[3]], [configs[1]]]


def test_pack_makes_even_parts():
    configs = [quick(seed=seed) for seed in range(7)]
    assert [len(part) for part in pack(configs, max_members=3)] == [3, 2, 2]
    assert [config for part in pack(configs, max_members=3) for config in part] == configs


def test_shards_are_the_plan_and_do_not_overlap():
    cohorts = [[quick(seed=seed)] for seed in range(7)]
    parts = [shard(cohorts, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(c[0].seed for part in parts for c in part) == list(range(7))
    assert [len(part) for part in parts] == [3, 2, 2]
    for wrong in ("0/3", "4/3", "x", "1/0", "1/3/2", "-1/3"):
        with pytest.raises(RankprobeError, match="expected i/n with i from 1 to n, such as 1/4"):
            shard(cohorts, wrong)
