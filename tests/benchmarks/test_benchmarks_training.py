import functools
import math

import numpy as np
import pytest
import torch

from odenets.benchmarks.common.errors import CheckpointError, ConfigError, DivergedError
from odenets.benchmarks.data import augmentation, sources as data
from odenets.benchmarks.data.in_memory import InMemoryDataset
from odenets.benchmarks.study import epoch_end, progress, run_checkpoint as checkpoint, run_state, schedule, training
from odenets.benchmarks.study.config import RunConfig
from odenets.benchmarks.study.network import build_model
from odenets.net.networks_in_model import networks

STEPS = 5


def toy():
    """40 images of noise with labels that can be learned: the mean level."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=random)
    labels = (images.float().mean((1, 2, 3)) > 127).long()
    return InMemoryDataset("toy", images, labels, images[:15], labels[:15], num_classes=2, crop_padding=1, flip=True)


def config(**changes):
    parts = {"data": "toy", "depth": 14, "scheme": "lm", "seed": 3, "epochs": 2, "batch_size": 8}
    return RunConfig(**(parts | changes))


class Stop(Exception):
    pass


def stop_after(steps):
    def watch(state):
        if state.epoch * STEPS + state.step == steps:
            raise Stop

    return watch


def same(left, right):
    assert left.keys() == right.keys()
    return all(torch.equal(value, right[name]) for name, value in left.items())


def without_seconds(history):
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


@pytest.fixture(autouse=True)
def one_thread():
    """Nets of this size gain nothing from a second one, and lose much to it on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Trains each configuration to its end once."""
    return functools.cache(lambda run: training.train(run, toy(), tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 4},
        {"precision": "bf16", "channels_last": True},
        {"scheme": "rk4", "seed": 0},
        {"schedule": "one_cycle", "coefficients": "decayed_to_1", "label_smoothing": 0.1},
        {"schedule": "one_cycle", "precision": "bf16", "channels_last": True, "coefficients": -0.25},
        {"ema": 0.9, "per_channel": True},
        {"survival": 0.5, "scheme": "momentum", "gradient": "reversible"},
    ],
)
@pytest.mark.parametrize(("stopped", "every"), [(2, 0), (5, 0), (7, 0), (3, 2), (8, 1)])
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(tmp_path, uninterrupted, stopped, every, changes):
    run = config(**changes)
    whole = uninterrupted(run)
    with pytest.raises(Stop):
        training.train(run, toy(), tmp_path, checkpoint_every=every, watch=stop_after(stopped))
    left = checkpoint.read(tmp_path / checkpoint.NAME, run, run_state.content_of(run))
    assert left["epoch"] * STEPS + left["step"] == (stopped // every * every if every else stopped // STEPS * STEPS)
    # What happened in this process in between must not matter.
    torch.randn(17)
    resumed = training.train(run, toy(), tmp_path)
    assert same(resumed.model.state_dict(), whole.model.state_dict())
    assert same(resumed.tested.state_dict(), whole.tested.state_dict())
    assert without_seconds(resumed.history) == without_seconds(whole.history)


def test_the_moving_average_by_hand(tmp_path):
    """It begins with the weights after the first step; after each later one it is 0.9 of itself and 0.1 of them."""
    run, expected = config(ema=0.9), {}

    def follow(state):
        for name, value in state.model.state_dict().items():
            if value.is_floating_point():
                expected[name] = 0.9 * expected[name] + 0.1 * value if name in expected else value.clone()

    averaged = training.train(run, toy(), tmp_path, watch=follow)
    for name, value in expected.items():
        torch.testing.assert_close(averaged.tested.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    assert averaged.history[-1]["test_error"] == epoch_end.test_error(averaged.tested, run, toy())
    (tmp_path / "plain").mkdir()
    plain = training.train(config(), toy(), tmp_path / "plain")
    assert same(averaged.model.state_dict(), plain.model.state_dict())
    assert not same(averaged.tested.state_dict(), plain.tested.state_dict())


def test_a_compiled_run_is_the_same_but_for_rounding(tmp_path, monkeypatch):
    """The last batch of the epoch and the test have other shapes than the rest. Torch's tracer, not its C++ compiler:
    what that makes of a graph is tested with the gradients."""
    graphs = []
    backend = functools.partial(lambda found, graph, inputs: found.append(graph) or graph.forward, graphs)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend, fullgraph=True))
    run = config(depth=8, epochs=1, batch_size=9)
    for name in ("plain", "compiled"):
        (tmp_path / name).mkdir()
    plain = training.train(run, toy(), tmp_path / "plain")
    compiled = training.train(run, toy(), tmp_path / "compiled", compiled=True)
    assert len(graphs) == 3  # of a batch, of any batch, of the test
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(compiled.model.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_networks_gradients_and_dropped_layers_of_a_run():
    loaded = InMemoryDataset(**{**vars(toy()), "num_classes": 5})
    model = build_model(config(network="cifar_resnext_8x64d", depth=11, gradient="checkpoint"), loaded)
    assert model.stage1.field.layers[0][5].groups == 8
    assert model.classifier.out_features == 5
    assert "checkpoint" in repr(model.stage1.gradient).lower()
    with torch.device("meta"):
        assert build_model(config(network="imagenet_resnet", depth=50, data="cifar10")).classifier.out_features == 1000
    dropping = build_model(config(survival=0.5, depth=8))
    # p_l = 1 - (l / L)(1 - p_L), l = 1 .. L: of three layers 5/6, 4/6, 1/2
    assert [float(p) for net in networks(dropping) for p in net.field.survival] == pytest.approx([5 / 6, 2 / 3, 0.5])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"network": "vgg"}, "network: got 'vgg', expected one of cifar_resnet, cifar_resnext_8x64d"),
        (
            {"network": "cifar_resnext_8x64d", "depth": 29, "survival": 0.5},
            "survival: got 0.5, expected 1: cifar_resnext_8x64d keeps all layers",
        ),
    ],
)
def test_a_network_that_cannot_be_is_an_error(changes, complaint):
    with pytest.raises(ConfigError, match=complaint):
        build_model(config(**changes))


def test_resuming_does_not_start_afresh(tmp_path):
    """The test above would pass if every run began again: the steps after a resumption are counted."""
    seen = []
    with pytest.raises(Stop):
        training.train(config(), toy(), tmp_path, checkpoint_every=2, watch=stop_after(8))
    training.train(config(), toy(), tmp_path, watch=lambda state: seen.append((state.epoch, state.step)))
    assert seen == [(1, 3), (1, 4), (2, 0)]


def test_the_seed_decides_weights_and_data(tmp_path):
    finals = []
    for name, seed in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        finals.append(training.train(config(seed=seed), toy(), tmp_path / name).model.state_dict())
    assert not same(*finals)


def test_learning_rate_falls_by_ten_after_half_and_three_quarters(tmp_path):
    rates = {}
    training.train(
        config(epochs=4, depth=8),
        toy(),
        tmp_path,
        watch=lambda state: state.step == 1 and rates.update({state.epoch: state.optimizer.param_groups[0]["lr"]}),
    )
    assert rates == pytest.approx({0: 0.1, 1: 0.1, 2: 0.01, 3: 0.001}, rel=1e-12)


def test_one_cycle_rises_to_lr_and_falls_to_nothing_step_by_step(tmp_path):
    """3 epochs of 5 steps: at step i of 15, i/16 of the way; up to 1/4 four times that, then (1 - i/16) 4/3."""
    rates = []
    run = config(epochs=3, depth=8, schedule="one_cycle", lr=0.32)
    state = run_state.fresh(run, toy())
    state.optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    training.train(run, toy(), tmp_path, state=state)
    expected = [0.08, 0.16, 0.24, 0.32] + [0.32 * (16 - i) / 12 for i in range(5, 16)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_schedules_in_words():
    assert schedule.describe(config(epochs=160)) == "lr divided by 10 after epochs 80 and 120"
    text = "lr linear from 0 up to 0.2 over 25% of the steps, linear down to 0 at the end"
    assert schedule.describe(config(schedule="one_cycle", lr=0.2)) == text


def test_label_smoothing_by_hand():
    """The loss is 0.8 that of the label and 0.1 that of each of the two classes."""
    run, loaded = config(label_smoothing=0.2), toy()
    state = run_state.fresh(run, loaded)
    images, labels = loaded.normalised(loaded.train_images[:8]), loaded.train_labels[:8]
    state.model.train()
    logs = state.model(images).log_softmax(1)
    expected = -(0.8 * logs[torch.arange(8), labels] + 0.1 * logs.sum(1)).mean()
    training.step(state, run, images, labels)
    assert float(state.losses[0]) == pytest.approx(expected.item(), rel=1e-5)


def learned(state):
    return {name: p.detach().clone() for name, p in state.model.named_parameters() if ".coefficients." in name}


@pytest.mark.parametrize(("treatment", "target"), [("trained", None), ("decayed_to_0", 0.0), ("decayed_to_1", 1.0)])
def test_two_steps_of_decayed_coefficients_by_hand(treatment, target):
    """v <- 0.9 v + g + 0.01 (k - target), k <- k - 0.05 v; without the middle part for those that are only trained."""
    run = config(lr=0.05, weight_decay=0.01, coefficients=treatment)
    loaded = toy()
    state = run_state.fresh(run, loaded)
    state.model.train()
    velocity = dict.fromkeys(learned(state), 0.0)
    for _ in range(2):
        before = learned(state)
        training.step(state, run, loaded.normalised(loaded.train_images[:8]), loaded.train_labels[:8])
        gradients = gradients_at(run, loaded, state, before)
        for name, k in before.items():
            decay = 0 if target is None else 0.01 * (k - target)
            velocity[name] = 0.9 * velocity[name] + gradients[name] + decay
            torch.testing.assert_close(learned(state)[name], k - 0.05 * velocity[name], rtol=0, atol=1e-7)
    assert len(velocity) == 3


def gradients_at(run, loaded, state, before):
    """The gradients of the loss, without decay, that the last step has seen: what it has left, less the shift."""
    shift = 0.01 if run.coefficients == "decayed_to_1" else 0.0
    return {name: p.grad + shift for name, p in state.model.named_parameters() if name in before}


def test_coefficients_fixed_at_0_make_lm_what_euler_is(tmp_path):
    """To the bit, as in a plain network: same first weights, same steps, same errors."""
    finals = []
    for changes in ({"scheme": "euler"}, {"coefficients": 0}, {}):
        run = config(schedule="one_cycle", **changes)
        (tmp_path / run.name).mkdir()
        finals.append(training.train(run, toy(), tmp_path / run.name))
    euler, fixed, trained = finals
    assert same(euler.model.state_dict(), fixed.model.state_dict())
    assert without_seconds(euler.history) == without_seconds(fixed.history)
    assert not same(euler.model.state_dict(), {k: trained.model.state_dict()[k] for k in euler.model.state_dict()})


def test_coefficients_fixed_at_a_number_are_that_number_and_stay_it(tmp_path):
    """The network is the trained kind with its coefficients set to the number and left out of the optimizer."""
    run = config(coefficients=-0.25)
    start = run_state.fresh(config(), toy())
    held = learned(start)
    for name in ("by hand", "fixed"):
        (tmp_path / name).mkdir()
    with torch.no_grad():
        for name, parameter in start.model.named_parameters():
            if name in held:
                parameter.fill_(-0.25).requires_grad_(False)
    by_hand = training.train(config(), toy(), tmp_path / "by hand", state=run_state.begin(start.model, config(), toy()))
    fixed = training.train(run, toy(), tmp_path / "fixed")
    assert not learned(fixed)
    for name, value in fixed.model.state_dict().items():
        torch.testing.assert_close(value, by_hand.model.state_dict()[name], rtol=1e-4, atol=1e-5)
    assert all(float(p) == -0.25 for p in learned(by_hand).values())


def test_a_treatment_of_coefficients_that_are_not_there_is_an_error():
    with pytest.raises(ConfigError, match=r"coefficients: got 0\.0 for euler, which has none; expected 'trained'"):
        run_state.fresh(config(scheme="euler", coefficients=0), toy())


def test_one_step_is_sgd_with_momentum_and_decay_by_hand(tmp_path):
    run = config(epochs=1, batch_size=40, depth=8, lr=0.05, weight_decay=0.01)
    loaded = toy()
    start = run_state.fresh(run, loaded)
    images, labels = loaded.batch(loaded.draw(augmentation.generator(run.seed, 0)), slice(0, 40))
    start.model.train()
    loss = torch.nn.functional.cross_entropy(start.model(images), labels)
    loss.backward()
    expected = {name: p - 0.05 * (p.grad + 0.01 * p) for name, p in start.model.named_parameters()}
    final = training.train(run, loaded, tmp_path)
    for name, parameter in final.model.named_parameters():
        torch.testing.assert_close(parameter, expected[name], rtol=1e-5, atol=1e-7)
    assert final.history[0]["train_loss"] == pytest.approx(loss.item(), rel=1e-6)


def test_test_error_is_counted_right(tmp_path):
    state = training.train(config(), toy(), tmp_path)
    loaded = toy()
    state.model.eval()
    wrong = sum(
        int(state.model(loaded.normalised(loaded.test_images[i : i + 1])).argmax()) != int(loaded.test_labels[i])
        for i in range(15)
    )
    assert state.history[-1]["test_error"] == pytest.approx(100 * wrong / 15)
    assert [record["epoch"] for record in state.history] == [1, 2]


def test_evaluation_leaves_the_network_as_it_is(tmp_path):
    state = run_state.fresh(config(), toy())
    state.model.train()
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    epoch_end.test_error(state.model, config(), toy())
    assert same(state.model.state_dict(), before)


def test_digits_are_learned(tmp_path):
    run = RunConfig(data="digits", depth=8, scheme="euler", seed=0, epochs=12)
    state = training.train(run, data.load("digits", tmp_path), tmp_path)
    assert state.history[-1]["test_error"] < 5
    assert state.history[-1]["train_loss"] < 0.3


# ------------------------------------------------------------------------- divergence


def test_a_loss_that_is_not_finite_is_named_and_the_last_good_checkpoint_kept(tmp_path):
    run = config(lr=1e30)
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) at epoch 1, step 2 of 5; the last good checkpoint"):
        training.train(run, toy(), tmp_path, checkpoint_every=1)
    left = checkpoint.read(tmp_path / checkpoint.NAME, run, run_state.CONTENT)
    assert (left["epoch"], left["step"]) == (0, 1)
    assert all(value.isfinite().all() for value in left["model"].values())


def test_the_first_bad_step_is_named_when_the_epoch_is_over(tmp_path):
    with pytest.raises(DivergedError, match="at epoch 1, step 2 of 5"):
        training.train(config(lr=1e30), toy(), tmp_path)
    assert checkpoint.read(tmp_path / checkpoint.NAME, config(lr=1e30), run_state.CONTENT)["step"] == 0


def test_weights_that_are_not_finite_are_found_before_any_loss_is():
    state = run_state.fresh(config(), toy())
    state.step = 4
    epoch_end.check_finite(state)
    with torch.no_grad():
        next(state.model.parameters()).view(-1)[3] = math.inf
    with pytest.raises(DivergedError, match="weights are not finite after epoch 1, step 4 of 5"):
        epoch_end.check_finite(state)


# ------------------------------------------------------------------------ checkpoints


@pytest.fixture
def written(tmp_path):
    path = tmp_path / checkpoint.NAME
    checkpoint.save(path, config(depth=8), run_state.snapshot(run_state.fresh(config(depth=8), toy())))
    return path


def read(path):
    return checkpoint.read(path, config(depth=8), run_state.CONTENT)


def test_damage_to_the_directory_of_the_archive_is_one_error(written):
    whole = written.read_bytes()
    start, found = whole.find(b"PK\x01\x02"), 0
    for offset in range(start, len(whole), 3):
        written.write_bytes(whole[:offset] + bytes([whole[offset] ^ 8]) + whole[offset + 1 :])
        try:
            read(written)
        except CheckpointError:  # any other exception, such as zlib.error, ends the test
            found += 1
    assert found > 10


def test_a_checkpoint_of_another_network_is_one_error(tmp_path):
    content = run_state.snapshot(run_state.fresh(config(depth=8), toy()))
    content["model"].popitem()
    checkpoint.save(tmp_path / checkpoint.NAME, config(depth=8), content)
    with pytest.raises(CheckpointError, match="does not fit this version's network"):
        training.train(config(depth=8), toy(), tmp_path)


def test_a_flipped_bit_anywhere_is_found_or_harmless(written):
    original, whole = read(written), written.read_bytes()
    found = 0
    for position in range(0, len(whole), len(whole) // 60):
        written.write_bytes(whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :])
        try:
            content = read(written)
        except CheckpointError:
            found += 1
        else:
            # The archive has padding and unused header fields.
            assert same(content["model"], original["model"])
            assert torch.equal(content["rng"], original["rng"])
    assert found > 40


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_one_error_naming_it(written, part):
    whole = written.read_bytes()
    written.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is damaged \(.*\); delete it to start the run again"):
        read(written)


def test_another_runs_checkpoint_is_refused(written):
    with pytest.raises(CheckpointError, match="belongs to another run than toy-lm-8-s4-"):
        checkpoint.read(written, config(depth=8, seed=4), run_state.CONTENT)


def test_a_foreign_file_is_refused(tmp_path):
    checkpoint.write_tensors(tmp_path / "x.pt", {"weights": torch.zeros(3)})
    with pytest.raises(CheckpointError, match="is not a checkpoint of this benchmark"):
        read(tmp_path / "x.pt")


# --------------------------------------------------------------------------- progress


def test_progress_starts_where_earlier_processes_stopped(tmp_path):
    """euler-8: 3 evaluations a step, untouched; rk4-8: 6 (a transition has one), 2 of its 10 steps done."""
    runs = [config(depth=8, scheme="euler"), config(depth=8, scheme="rk4")]
    directory = tmp_path / runs[1].name
    directory.mkdir()
    with pytest.raises(Stop):
        training.train(runs[1], toy(), directory, checkpoint_every=2, watch=stop_after(3))
    with progress.Progress(runs, toy(), tmp_path) as bar:
        assert (bar.bar.n, bar.bar.total) == (2 * 6, 10 * 3 + 10 * 6)
        bar.leave(runs[0])
        assert (bar.bar.n, bar.bar.total) == (2 * 6, 10 * 6)
