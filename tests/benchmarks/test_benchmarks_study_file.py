import dataclasses
import pathlib
import re

import pytest
import torch
import yaml

import odenets
from odenets.benchmarks.common.errors import ConfigError
from odenets.benchmarks.study import network, study_file
from odenets.benchmarks.study.config import RunConfig

ROOT = pathlib.Path(__file__).resolve().parents[2]
GROUP = {"schemes": ["euler", "lm"], "depths": [8, 14], "seeds": [0, 1]}
WHOLE = {"name": "mine", "title": "T", "data": "digits", "recipe": {"lr": 0.2}, "groups": [GROUP]}


def write(path, values):
    file = path / "mine.yaml"
    file.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return file


def load(path, values):
    return study_file.load(str(write(path, values)))


# -------------------------------------------------------------------------------- shipped


def test_these_are_shipped():
    shipped = ["cifar10", "cifar10-stochastic-depth", "cifar100", "cpu-16", "demo", "imagenet"]
    assert study_file.shipped() == shipped


@pytest.mark.parametrize("name", study_file.shipped())
def test_a_shipped_study_has_distinct_runs_whose_networks_can_be(name):
    study = study_file.load(name)
    assert study.name == name
    assert len({run.name for run in study.runs}) == len(study.runs)
    seeds = [run.seed for run in study.runs]
    assert seeds == sorted(seeds)
    with torch.device("meta"):
        for run in study.runs[: seeds.count(0)]:
            network.build_model(run)


def test_demo_is_what_make_demo_has_been():
    runs = [(run.depth, run.scheme, run.seed) for run in study_file.load("demo").runs]
    assert runs == [(d, s, n) for n in (0, 1) for d in (14, 20) for s in ("euler", "lm", "rk4")]
    assert set(study_file.load("demo").runs[0].recipe.items()) == set(
        RunConfig("digits", 8, "lm", 0, 20).recipe.items()
    )


def test_cifar10_is_the_papers_table_and_recipe():
    runs = study_file.load("cifar10").runs
    assert len(runs) == 6 * 2 * 3
    assert {run.recipe_name for run in runs} == {RunConfig("cifar10", 20, "lm", 0, 160).recipe_name}
    assert {run.depth for run in runs} == {20, 32, 44, 56, 110, 164}


def test_stochastic_depth_is_the_papers_table_and_recipe():
    runs = study_file.load("cifar10-stochastic-depth").runs
    assert {(run.scheme, run.depth, run.survival, run.seed) for run in runs} == {
        (scheme, depth, last, seed)
        for scheme in ("euler", "lm")
        for depth, last in ((56, 0.8), (110, 0.5))
        for seed in range(3)
    }
    assert {(run.epochs, run.milestones, run.lr) for run in runs} == {(500, (250, 375), 0.1)}


def test_cifar100_is_the_papers_table_and_recipe():
    runs = study_file.load("cifar100").runs
    resnext = ["cifar_resnext_8x64d", "cifar_resnext_16x64d"]
    assert {(run.network, run.depth, run.weight_decay) for run in runs} == {
        ("cifar_resnet", 110, 1e-4),
        ("cifar_resnet", 164, 1e-4),
        *((name, 29, 5e-4) for name in resnext),
    }
    assert {(run.epochs, run.milestones, run.batch_size) for run in runs} == {(300, (150, 225), 128)}
    assert len(runs) == 4 * 2 * 3


def test_imagenet_has_the_papers_depths():
    runs = study_file.load("imagenet").runs
    assert {(run.network, run.depth) for run in runs} == {("imagenet_resnet", depth) for depth in (50, 101, 152)}
    assert {run.scheme for run in runs} == {"euler", "lm"}


def test_cpu_16_has_the_evaluations_that_its_file_states():
    runs = study_file.load("cpu-16").runs
    assert len(runs) == 15 * 3
    assert len({run.recipe_name for run in runs}) == 1
    with torch.device("meta"):
        counts = {(r.label, r.depth): odenets.count_evaluations(network.build_model(r)) for r in runs}
    plain = {("euler", d): n for d, n in ((8, 3), (14, 6), (20, 9), (32, 15))}
    assert counts == {
        **plain,
        **{("lm", d): n for (_, d), n in plain.items()},
        **dict.fromkeys([("momentum", 20), ("ab2", 20), ("lm (decayed_to_1)", 20), ("lm (fixed at 0.035)", 20)], 9),
        ("heun", 14): 10,
        ("rk4", 8): 6,
        ("rk4", 14): 18,
    }


# ----------------------------------------------------------------------------- expansion


def test_groups_override_the_recipe_and_a_run_named_twice_is_one(tmp_path):
    groups = [GROUP, {"schemes": ["lm"], "depths": [14], "seeds": [1, 2]}, {**GROUP, "seeds": [0], "epochs": 3}]
    runs = load(tmp_path, {**WHOLE, "groups": groups}).runs
    assert [run.seed for run in runs] == [0] * 8 + [1] * 4 + [2]
    assert [run.epochs for run in runs] == [20] * 4 + [3] * 4 + [20] * 5
    assert {run.lr for run in runs} == {0.2}
    assert len(set(runs)) == len(runs)


def test_a_number_with_an_exponent_is_a_number_and_anchors_work(tmp_path):
    text = (
        "name: mine\ntitle: T\ndata: digits\nrecipe: &r {lr: 5e-2, weight_decay: 1E-3}\n"
        "groups: [{schemes: [lm], depths: [8], seeds: [0], <<: *r, lr: .5}]"
    )
    (run,) = load(tmp_path, text).runs
    assert (run.lr, run.weight_decay) == (0.5, 1e-3)


def test_the_resolved_study_tells_every_value(tmp_path):
    study = load(tmp_path, WHOLE)
    resolved = study.resolved()
    assert [resolved[name] for name in ("name", "title", "data")] == ["mine", "T", "digits"]
    for told, run in zip(resolved["runs"], study.runs, strict=True):
        assert told == {"name": run.name, **dataclasses.asdict(run)}
        assert told["schedule"] == "steps"


# -------------------------------------------------------------------------------- errors


def without(name):
    return {key: value for key, value in WHOLE.items() if key != name}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ("", "got None, expected a mapping with the keys name, title, data, groups, recipe"),
        ("- a", "got ['a'], expected a mapping"),
        ("name: [", "is no YAML: while parsing"),
        ("name: a\nname: b", "is no YAML: key 'name' is there twice"),
        (without("data"), "got no data, expected all of name, title, data, groups"),
        ({**WHOLE, "group": []}, "unknown key 'group', did you mean groups?"),
        ({**WHOLE, "name": "My study"}, "name: got 'My study', expected lower-case letters"),
        ({**WHOLE, "title": 3}, "title: got 3, expected text"),
        ({**WHOLE, "data": "mnist"}, "unknown data set 'mnist', expected one of digits, cifar10"),
        ({**WHOLE, "recipe": {"learning_rate": 1}}, "recipe: unknown key 'learning_rate', expected ["),
        ({**WHOLE, "recipe": {"depth": 8}}, "recipe: unknown key 'depth'"),
        ({**WHOLE, "recipe": {"lr": "fast"}}, "lr: got 'fast', expected a value of type float"),
        ({**WHOLE, "groups": []}, "groups: got [], expected a list of one dict or more"),
        ({**WHOLE, "groups": [GROUP, {**GROUP, "depth": [8]}]}, "groups[1]: unknown key 'depth', did you mean depths?"),
        ({**WHOLE, "groups": [{"schemes": ["lm"], "depths": [8]}]}, "groups[0]: got no seeds"),
        ({**WHOLE, "groups": [{**GROUP, "schemes": "lm"}]}, "groups[0]: schemes: got 'lm', expected a list of one str"),
        ({**WHOLE, "groups": [{**GROUP, "seeds": []}]}, "groups[0]: seeds: got [], expected a list of one int or more"),
        ({**WHOLE, "groups": [{**GROUP, "seeds": [True]}]}, "groups[0]: seeds: got [True], expected a list of one int"),
        ({**WHOLE, "groups": [{**GROUP, "depths": [8, 8]}]}, "groups[0]: depths: got 8 more than once"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_names_the_file(tmp_path, values, complaint):
    with pytest.raises(ConfigError, match=re.escape(complaint)) as caught:
        load(tmp_path, values)
    assert str(caught.value).startswith(str(tmp_path / "mine.yaml"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match=r"x\.yaml.*"):
        study_file.load(str(tmp_path / "x.yaml"))


def test_the_example_of_the_page_is_a_study_and_its_keys_are_all(tmp_path):
    page = (ROOT / "docs" / "depth-vs-accuracy.md").read_text(encoding="utf-8")
    study = load(tmp_path, re.search(r"```yaml\n(.*?)```", page, re.S).group(1))
    assert len(study.runs) == 2 * 2 * 3 + 3
    assert set(re.findall(r"^\| `(\w+)` \|", page.split("| key |")[1], re.M)) == set(study_file.RECIPE)
