"""The study's engine for an accelerator, whose steps are run here as they are, or noted and replayed operation by
operation: what can be tested of it without one."""

import functools
import itertools
from types import SimpleNamespace

import pytest
import torch
from operation_tape import Tape
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from odenets import Checkpoint, FieldError, ODENet, Reversible
from odenets.benchmarks.common.errors import CheckpointError, ConfigError
from odenets.benchmarks.common.lock import exclusive
from odenets.benchmarks.data.in_memory import InMemoryDataset
from odenets.benchmarks.study import (
    captured,
    epoch_end,
    on_streams,
    result,
    run_checkpoint,
    run_state,
    runs,
    schedule,
    training,
)
from odenets.benchmarks.study.__main__ import main
from odenets.benchmarks.study.config import RunConfig
from odenets.benchmarks.study.network import update_average
from odenets.benchmarks.study.standing import FAILURE

#: Of an epoch of 40 images: batches of 16, 16 and 8.
STEPS = 3
MEANS = runs.Means("test")


@functools.cache
def toy():
    """40 images of noise with labels that can be learned: the mean level."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=random)
    labels = (images.float().mean((1, 2, 3)) > 127).long()
    return InMemoryDataset("toy", images, labels, images[:15], labels[:15], num_classes=2, crop_padding=1, flip=True)


def config(**changes):
    parts = {"data": "toy", "depth": 14, "scheme": "lm", "seed": 3, "epochs": 3, "batch_size": 16}
    return RunConfig(**(parts | changes))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(value, right[name]) for name, value in left.items())


def told(history):
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def side_by_side(configs, out, at_once=2):
    return runs.run_all(configs, toy(), out, MEANS, functools.partial(on_streams.on_streams, at_once=at_once))


# ------------------------------------------------------------------------- whole runs

RECIPES = [
    {"scheme": "euler", "schedule": "one_cycle", "precision": "bf16", "channels_last": True, "depth": 8},
    {"schedule": "one_cycle", "coefficients": "decayed_to_1", "label_smoothing": 0.1},
    {"scheme": "momentum", "survival": 0.5},
    {"scheme": "euler", "survival": 0.5, "seed": 0, "depth": 8},
    {"ema": 0.9, "per_channel": True, "epochs": 4},
]


def test_runs_that_take_turns_end_with_the_bits_of_the_trainer(tmp_path):
    """Three at a time of five, two of which draw random numbers at each step."""
    configs = [config(**recipe) for recipe in RECIPES]
    outcome = side_by_side(configs, tmp_path / "out", at_once=3)
    assert not outcome.failures
    for run in configs:
        (tmp_path / run.name).mkdir()
        alone = training.train(run, toy(), tmp_path / run.name)
        folder = tmp_path / "out" / run.name
        assert same(alone.tested.state_dict(), torch.load(folder / runs.WEIGHTS, weights_only=True)), run.label
        assert told(result.read(folder / result.NAME).values["epochs"]) == told(alone.history)
        assert not (folder / run_checkpoint.NAME).exists()


class Stop(Exception):
    pass


def way_of(name):
    """How each takes the steps of an epoch."""
    return training.begin_epoch if name == "the trainer" else on_streams.Lane(torch.device("cpu")).begin


@pytest.mark.parametrize("recipe", [RECIPES[1] | {"ema": 0.9}, RECIPES[2] | {"epochs": 4}])
@pytest.mark.parametrize("first", ["the trainer", "the engine"])
def test_a_run_may_be_begun_by_one_and_finished_by_the_other(tmp_path, recipe, first):
    """Stopped after step 4, which is the first of the second epoch, and after step 5; with a checkpoint after that."""
    run = config(**recipe)
    whole, folder = tmp_path / "whole", tmp_path / run.name
    whole.mkdir()
    expected = training.train(run, toy(), whole)
    (then,) = {"the trainer", "the engine"} - {first}
    for way, steps in ((first, 4), (first, 2)):
        begun = runs.one_run(run, toy(), tmp_path, runs.Means("test", checkpoint_every=2), way_of(way))
        done = [next(begun)[0] for _ in range(steps)]
        begun.close()
    assert done == [4, 5]
    left = run_checkpoint.read(folder / run_checkpoint.NAME, run, run_state.content_of(run))
    assert (left["epoch"], left["step"]) == (1, 2)
    assert [done for done, _ in runs.one_run(run, toy(), tmp_path, MEANS, way_of(then))] == list(
        range(6, 3 * run.epochs + 1)
    )
    assert same(expected.tested.state_dict(), torch.load(folder / runs.WEIGHTS, weights_only=True))
    assert told(result.read(folder / result.NAME).values["epochs"]) == told(expected.history)


def test_what_fails_or_belongs_to_others_does_not_stop_the_rest(tmp_path):
    good, bad, theirs = config(depth=8), config(depth=8, lr=1e30), config(depth=8, seed=1)
    with exclusive(tmp_path / theirs.name):
        outcome = side_by_side([bad, theirs, good], tmp_path)
    assert outcome.elsewhere == [theirs]
    assert len(outcome.failures) == 1
    assert "the loss is" in (tmp_path / bad.name / FAILURE).read_text()
    assert (tmp_path / good.name / result.NAME).exists()
    with exclusive(tmp_path / bad.name), exclusive(tmp_path / good.name):
        pass


def test_a_damaged_checkpoint_is_an_error_after_which_no_run_is_locked(tmp_path):
    good, bad = config(depth=8), config(depth=8, seed=1)
    (tmp_path / bad.name).mkdir()
    run_checkpoint.save(tmp_path / bad.name / run_checkpoint.NAME, good, {})
    with pytest.raises(CheckpointError):
        list(on_streams.on_streams([good, bad], toy(), tmp_path, MEANS, SimpleNamespace(watch=print), at_once=2))
    with exclusive(tmp_path / bad.name), exclusive(tmp_path / good.name):
        pass


# ------------------------------------------------------------------------- a step


@pytest.fixture
def capturing(monkeypatch):
    """What the network is told while a graph is captured."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)

    def at_work(flag):
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: flag)

    at_work(False)
    return at_work


class Taped(captured.Graphs):
    """Graphs that are tapes. To note one takes a step, which to capture one does not: so that call replays nothing."""

    def __init__(self, body, capturing):
        super().__init__(body, torch.device("cpu"))
        self.on_cuda, self.capturing = True, capturing

    def _captured(self, size):
        self.capturing(True)
        tape = Tape()
        with tape:
            self.body(size)
        self.capturing(False)
        assert tape.read == []
        replays = itertools.chain([lambda: None], itertools.repeat(tape.replay))

        def replay():
            next(replays)()

        return SimpleNamespace(replay=replay)


@pytest.fixture
def no_generator_is_asked(monkeypatch):
    """An error if the state of a generator is read or set; CUDA's cannot be while a graph is captured."""

    class Generator:
        def __getattr__(self, name):
            raise AssertionError(f"generator.{name} while a graph is captured")

    real = torch.default_generator

    def refused(flag):
        for module in (torch, torch.random):
            monkeypatch.setattr(module, "default_generator", Generator() if flag else real)

    return refused


STEPPED = [
    {"scheme": "euler", "survival": 0.5, "schedule": "one_cycle"},
    {"scheme": "lm", "coefficients": "decayed_to_1", "ema": 0.9, "schedule": "one_cycle"},
    {"scheme": "heun", "survival": 0.5},
    {"scheme": "rk4", "precision": "bf16", "channels_last": True},
    {"scheme": "ab2"},
    {"scheme": "momentum"},
    {"scheme": "leapfrog", "gradient": "reversible"},
    {"scheme": "momentum", "gradient": "reversible"},
    {"scheme": "rk4", "gradient": "checkpoint"},
]


def run_epochs(run, graphs):
    """Weights, average and history of a run whose steps go through ``graphs``."""
    state = run_state.fresh(run, toy())
    step = captured.DeviceStep(state, run, toy(), fused=True)
    step.run = graphs(step.body)
    for _ in range(run.epochs):
        step.begin_epoch()
        state.model.train()
        for _ in range(STEPS):
            step.take()
        epoch_end.check_finite(state)
        epoch_end.finish_epoch(state, run, toy(), 0.0)
    return state


@pytest.mark.parametrize("recipe", STEPPED, ids=lambda recipe: "-".join(map(str, recipe.values())))
def test_replayed_operations_are_the_steps_taken_one_by_one(recipe, capturing, no_generator_is_asked, monkeypatch):
    """Three epochs, a warm-up of one step: replayed are steps 3, 4 and 6 and, of the last, smaller batches, step 8.

    Nothing of the host enters a replay, nothing is read by it while the operations are noted: each step has its own
    images, learning rate, random numbers and place for its loss all the same.
    """

    def noting(flag):
        capturing(flag)
        no_generator_is_asked(flag)

    monkeypatch.setattr(captured, "WARM_UP", 1)
    run = config(lr=0.05, **recipe)
    one_by_one = run_epochs(run, lambda body: body)
    replayed = run_epochs(run, lambda body: Taped(body, noting))
    assert same(one_by_one.tested.state_dict(), replayed.tested.state_dict())
    assert told(one_by_one.history) == told(replayed.history)


def test_a_step_is_run_three_times_then_captured_once_and_replayed(monkeypatch):
    """For each batch size; the stream is the one that the step is called on."""
    done = []

    class Graph:
        def replay(self):
            done.append("replay")

    class Capture:
        def __init__(self, graph, *, stream):
            assert (type(graph), stream) == (Graph, "the run's stream")

        def __enter__(self):
            done.append("capture")

        def __exit__(self, *_):
            done.append("end")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "the run's stream")
    graphs = captured.Graphs(done.append, torch.device("cuda"))
    for size in (16, 16, 8, 16, 16, 8, 16):
        graphs(size)
    first = ["capture", 16, "end", "replay"]
    assert done == [16, 16, 8, 16, *first, 8, "replay"]
    del done[:]
    graphs(8), graphs(8)
    assert done == [8, "capture", 8, "end", "replay"]


def test_the_optimizer_is_as_it_was_after_a_step_on_the_device():
    state = run_state.fresh(config(), toy())
    before = [dict(group) for group in state.optimizer.param_groups]
    rate = torch.tensor(0.5)
    with captured.rate_on_device(state.optimizer, rate, fused=True):
        assert all(
            group["lr"] is rate and group["fused"] and not group["foreach"] for group in state.optimizer.param_groups
        )
    assert [dict(group) for group in state.optimizer.param_groups] == before


@pytest.mark.parametrize("changes", [{"epochs": 4}, {"schedule": "one_cycle"}])
def test_the_rates_of_a_run_are_those_that_its_optimizer_has_step_by_step(tmp_path, changes):
    run, seen = config(depth=8, **changes), []
    state = run_state.fresh(run, toy())
    state.optimizer.register_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
    training.train(run, toy(), tmp_path, state=state)
    assert schedule.rates(run, STEPS).tolist() == torch.tensor(seen, dtype=torch.float64).view(-1, STEPS).tolist()


def test_the_moving_average_is_torchs():
    """Of weights, of statistics and of counts, to the bit, over four updates, the first of which copies."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ours, theirs = (AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True) for _ in range(2))
    for i in range(4):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.copy_(10 * torch.randn(tensor.shape))
        theirs.update_parameters(model)
        update_average(ours, model, first=i == 0)
        assert same(ours.module.state_dict(), theirs.module.state_dict())


def test_each_run_draws_its_own_random_numbers():
    expected = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        expected.append(torch.rand(3).tolist())
    torch.manual_seed(2)
    outside = torch.get_rng_state()
    runs_numbers = [on_streams.RandomNumbers(torch.device("cpu")) for _ in range(2)]
    found = [[], []]
    for draw in range(3):
        for seed, numbers in enumerate(runs_numbers):
            with numbers.own():
                if draw == 0:
                    torch.manual_seed(seed)
                found[seed].append(float(torch.rand(())))
    assert found == expected
    assert torch.equal(torch.get_rng_state(), outside)


# ------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scheme": "backward_euler"}, "backward_euler: .* the solver of its implicit stages asks the device"),
        ({"gradient": "reversible"}, r"lm \(reversible\): .* reads the coefficients .* or with gradient 'checkpoint'"),
    ],
)
def test_runs_whose_steps_wait_for_the_device_are_refused_by_name(changes, reason):
    with pytest.raises(ConfigError, match=reason):
        captured.check(config(**changes))
    captured.check(config(gradient="reversible", coefficients=-0.5))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--device=cpu"], "--at-once: got it on the CPU, where runs in one process only wait for one another"),
        (["--compile"], "got --at-once 4 and --compile, expected one of them"),
        (["--jobs=2"], "got --jobs 2 and --at-once 4, expected one of them"),
    ],
)
def test_the_command_line_refuses(options, complaint, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runs.Means, "prepare", lambda *_: toy())
    assert main(["run", "demo", "--at-once=4", f"--out={tmp_path / 'out'}", *options]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def blocks(last):
    return [nn.Sequential(nn.Linear(4, 4), nn.Tanh(), last()) for _ in range(4)]


class Drawing(nn.Module):
    """Draws as dropout does, and is not known for it."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.5)


def test_masks_that_would_be_drawn_anew_at_each_stage_are_refused_in_a_graph(capturing):
    x = torch.ones(2, 4)
    known, unknown = ODENet(blocks(nn.Dropout), "heun"), ODENet(blocks(Drawing), "heun")
    unknown(x)
    capturing(True)
    with pytest.raises(FieldError, match=r"layers\.0\.2: got a Dropout that draws random numbers .* in a CUDA graph"):
        known(x)
    with pytest.raises(FieldError, match="layer 0: got a module that draws random numbers"):
        unknown(x)
    ODENet(blocks(nn.Dropout), "euler")(x)


@pytest.mark.parametrize(("gradient", "scheme"), [(Reversible(), "leapfrog"), (Checkpoint(), "rk4")])
def test_a_gradient_that_would_be_wrong_is_nan_in_a_graph(capturing, gradient, scheme):
    """Blocks that add another number whenever they are called; without them the gradient is what it is outside."""
    shift = SimpleNamespace(by=0.0)

    class Shifted(nn.Module):
        def forward(self, x):
            shift.by *= 2
            return x + shift.by

    net = ODENet(blocks(Shifted), scheme, h=0.1, gradient=gradient)
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    inputs = [x, *net.parameters()]
    expected = torch.autograd.grad(net(x).sum(), inputs)
    capturing(True)
    good = torch.autograd.grad(net(x).sum(), inputs)
    assert all(torch.equal(a, b) for a, b in zip(good, expected, strict=True))
    shift.by = 1e-3
    bad = torch.autograd.grad(net(x).sum(), inputs)
    assert bad[0].isnan().all()
    assert all(gradient.isnan().all() for gradient in bad[1:3])
