"""Swapped models under what torch does with modules: training, autocast, compile, copies, state_dict, processes."""

import copy
import faulthandler
import io
import os
import pickle
import sys
from contextlib import nullcontext
from datetime import timedelta

import commands
import pytest
import torch
from loops_multistep import LOOPS as MULTISTEP
from loops_networks import LOOPS as NETWORKS
from loops_runge_kutta import LOOPS as RUNGE_KUTTA
from swap_networks import Deep, Position, ResNetV1, Statement, Transformer, randomise, smooth_network
from torch import nn

from odenets import FieldError, SchemeWarning, parameter_groups, swap_scheme, unswap
from odenets.net.learnable_coefficients import is_added
from odenets.swap.owner import owners_of

LOOPS = RUNGE_KUTTA | MULTISTEP | NETWORKS
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(2))
POINTS = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))
MASK = torch.full((5, 5), -torch.inf).triu(1)
#: one evaluation, a history, learnable; several stages; stages that are not at the state, and a starting slope
SCHEMES = ["euler", "lm", "ab2", "heun", "alf", "reversible_heun"]


def networks():
    torch.manual_seed(0)
    return {
        "resnet": (randomise(ResNetV1()), (IMAGES,)),
        "transformer": (Transformer(), (TOKENS, MASK)),
        "statement": (smooth_network(4, dtype=torch.float32, block=Statement), (POINTS,)),
        "deep": (smooth_network(4, dtype=torch.float32, block=Deep), (POINTS,)),
        "position": (smooth_network(4, dtype=torch.float32, block=Position), (POINTS,)),
    }


def output(model, args):
    found = model(*args)
    return found[0] if isinstance(found, tuple) else found


def placed(model):
    """The learned coefficients."""
    found = [p for key, p in model.named_parameters() if is_added(key)]
    assert found
    return found


def gradients(model, args):
    model.zero_grad()
    # Not the sum of squares, which after a LayerNorm is the same for every state.
    output(model, args).sin().sum().backward()
    return [p.grad.clone() for p in model.parameters()]


@pytest.fixture
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


CASES = [("resnet", "heun"), ("transformer", "lm"), ("statement", "heun"), ("position", "ab2"), ("deep", "alf")]


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_compiles_as_one_graph(kind, name):
    model, args = networks()[kind]
    swapped = swap_scheme(model, name, example=args).train()
    other = copy.deepcopy(swapped)
    compiled = torch.compile(swapped, fullgraph=True, backend="aot_eager")
    for _ in range(2):  # the second time what the first left behind must still hold
        torch.testing.assert_close(output(compiled, args), output(other, args))
    for a, b in zip(gradients(compiled, args), gradients(other, args), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    for (key, a), b in zip(swapped.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, msg=key)


class Around(nn.Module):
    """Sums of its own between blocks that have some: who counts the additions of one must not count the others'."""

    def __init__(self, width=6):
        super().__init__()
        self.first, self.own, self.last = Position(width), nn.Linear(width, width), Position(width)

    def forward(self, x):
        x = self.first(x)
        x = x + torch.tanh(self.own(x))
        return self.last(x)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("name", ["euler", "heun", "lm", "ab2"])
def test_a_module_with_sums_around_others_compiles(name):
    torch.manual_seed(0)
    model, x = nn.Sequential(Around(), Around()).double(), torch.randn(3, 6, dtype=torch.float64)
    swapped = swap_scheme(model, name, example=x, coefficients=0.3 if name == "lm" else None)
    expected = LOOPS[name](
        [f for m in model for f in (m.first.branch, lambda u, m=m: torch.tanh(m.own(u)), m.last.branch)],
        x,
        1,
        [{"k": torch.tensor(0.3)}] * 6,
    )
    torch.testing.assert_close(swapped(x), expected)
    torch.testing.assert_close(torch.compile(swapped, fullgraph=True, backend="eager")(x), expected)


class Turns(nn.Module):
    """Two states that take turns in the same blocks: each goes on from its own steps."""

    def __init__(self, width=6):
        super().__init__()
        self.blocks = nn.ModuleList(Position(width) for _ in range(4))

    def forward(self, x, y):
        for block in self.blocks:
            x, y = block(x), block(y)
        return torch.cat((x, y))


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("name", ["lm", "ab2"])
def test_states_that_take_turns_in_the_same_blocks_compile(name):
    torch.manual_seed(0)
    model, inputs = Turns().double(), torch.randn(2, 3, 6, dtype=torch.float64)
    swapped = swap_scheme(model, name, example=tuple(inputs), coefficients=0.3 if name == "lm" else None)
    k = [{"k": torch.tensor(0.3)}] * 4
    expected = torch.cat([LOOPS[name]([b.branch for b in model.blocks], u, 1, k) for u in inputs])
    torch.testing.assert_close(swapped(*inputs), expected)
    torch.testing.assert_close(torch.compile(swapped, fullgraph=True, backend="eager")(*inputs), expected)


class Deeper(nn.Module):
    """Adds once more inside its branch, before the sum: in training, or where it is asked to."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

    def branch(self, x, deep=False):
        h = torch.tanh(self.one(x))
        if deep or self.training:
            h = h + torch.tanh(self.two(h))
        return h

    def forward(self, x, deep=False):
        return x + self.branch(x, deep)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("name", ["heun", "in_resnet"])
def test_compiled_sums_are_counted_as_in_their_mode(name):
    torch.manual_seed(0)
    model, x = Deeper().double().eval(), torch.randn(3, 6, dtype=torch.float64)
    swapped = swap_scheme(model, name, example=x, coefficients=0.3 if name == "in_resnet" else None)
    compiled = torch.compile(swapped, fullgraph=True, backend="eager")
    for training in (False, True):
        model.train(training)
        swapped.train(training)
        slope = model.branch(x)
        expected = 0.7 * x + slope if name == "in_resnet" else x + (slope + model.branch(x + slope)) / 2
        torch.testing.assert_close(swapped(x), expected)
        torch.testing.assert_close(compiled(x), expected)
    with pytest.raises(Exception, match="once more than at the example"):
        compiled.eval()(x, True)


class Varied(nn.Module):
    """Adds more where it is asked to, leaves its sum out, or says something, which ends a graph of torch.compile."""

    def __init__(self, width=6):
        super().__init__()
        self.one, self.two = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x, how=""):
        h = torch.tanh(self.one(x))
        if how == "more":
            h = h + torch.tanh(self.two(h))
        if how == "says":
            print(float(h.detach().sum()))
        return h if how == "less" else x + h


class Asked(nn.Module):
    """Blocks in a loop."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Varied() for _ in range(3))

    def forward(self, x, how=""):
        for block in self.blocks:
            x = block(x, how)
        return x


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("name", ["heun", "lm", "ab2"])
def test_a_compiled_block_with_other_sums_is_left_to_python(name):
    torch.manual_seed(0)
    model, x = Asked().double().eval(), torch.randn(3, 6, dtype=torch.float64)
    swapped = swap_scheme(model, name, example=x, coefficients=0.3 if name == "lm" else None)
    compiled = torch.compile(swapped, backend="eager")

    def branch(block, how):
        def of(u):
            h = torch.tanh(block.one(u))
            return h + torch.tanh(block.two(h)) if how == "more" else h

        return of

    for how in ("", "more", "says", "less", "", "more"):
        if how == "less":  # and what failed once works afterwards
            with pytest.raises(FieldError, match=r"blocks\.0: got a forward without the sum number 1 of 1"):
                compiled(x, how)
            continue
        if how == "says" and name == "heun":
            with pytest.raises(FieldError, match=r"blocks\.0: got a call of __float__|blocks\.0: got a call of item"):
                compiled(x, how)
            continue
        expected = LOOPS[name]([branch(block, how) for block in model.blocks], x, 1, [{"k": torch.tensor(0.3)}] * 3)
        torch.testing.assert_close(compiled(x, how), expected)


class Twice(Position):
    """Two parts are added to one state."""

    def forward(self, x):
        return x + torch.sin(self.branch(x)) + torch.cos(self.branch(x))


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("block", [Position, Twice])
@pytest.mark.parametrize("name", ["lm", "ab2", "heun"])
def test_an_input_that_is_a_state_is_compiled_for_once(name, block):
    torch.manual_seed(0)
    swapped = swap_scheme(nn.Sequential(block(6), block(6), block(6)), name, example=torch.randn(3, 6)).eval()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(swapped, backend=backend)
    for _ in range(10):  # more than torch would compile again before it gives up
        x = torch.randn(3, 6)
        torch.testing.assert_close(compiled(x), swapped(x))
    assert len(graphs) == 1


class Between(nn.Module):
    """Blocks between which a graph of torch.compile ends."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Position(6) for _ in range(3))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
            torch._dynamo.graph_break()
        return x


@pytest.mark.usefixtures("fresh")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's, of inputs of graphs
@pytest.mark.parametrize("name", ["lm", "ab2", "heun"])
def test_graphs_that_end_between_blocks(name):
    torch.manual_seed(0)
    model = Between().double()
    swapped = swap_scheme(model, name, example=torch.randn(3, 6).double(), coefficients=0.3 if name == "lm" else None)
    compiled = torch.compile(swapped, backend="eager")
    for size in (3, 4, 3, 5) * 3:
        x = torch.randn(size, 6, dtype=torch.float64)
        expected = LOOPS[name]([b.branch for b in model.blocks], x, 1, [{"k": torch.tensor(0.3)}] * 3)
        found, own = compiled(x), [p for key, p in swapped.named_parameters() if not is_added(key)]
        torch.testing.assert_close(found, expected)
        expected = torch.autograd.grad(expected.sin().sum(), list(model.parameters()))
        torch.testing.assert_close(torch.autograd.grad(found.sin().sum(), own), expected)


class Stops(nn.Module):
    """A chain of which a pass may stop before the end."""

    def __init__(self, width=6):
        super().__init__()
        self.blocks = nn.ModuleList(Position(width) for _ in range(5))

    def forward(self, x, last=5):
        for block in self.blocks[:last]:
            x = block(x)
        return x


@pytest.mark.usefixtures("fresh")
def test_passes_that_stop_inside_of_a_chain_leave_nothing_more_each_time():
    torch.manual_seed(0)
    x = torch.randn(3, 6, dtype=torch.float64)
    swapped = swap_scheme(Stops().double(), "ab2", example=x)
    compiled = torch.compile(swapped, fullgraph=True, backend="eager")
    left = []
    with torch.no_grad():
        for _ in range(4):
            torch.testing.assert_close(compiled(x, 3), swapped(x, 3))
            left.append(len(owners_of(swapped)[0].history.traced))
    assert left == [1] * 4


class Remembers(nn.Module):
    """Keeps an auxiliary loss, a counter and a sum of its inputs."""

    def __init__(self, width=6):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.register_buffer("total", torch.zeros(width))
        self.calls = 0

    def forward(self, x):
        h = torch.tanh(self.linear(x))
        self.total.add_(x.detach().sum(0))
        self.calls += 1
        self.aux = h.square().mean()
        return x + h


@pytest.mark.usefixtures("fresh")
def test_what_a_block_keeps_is_the_same_when_compiled():
    torch.manual_seed(0)
    model = smooth_network(2, dtype=torch.float32, block=Remembers)
    swapped = swap_scheme(model, "rk4", example=POINTS)
    twin = copy.deepcopy(swapped)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        for net in (swapped, compiled):
            net(POINTS).sum().backward()
    for block, other in zip(swapped[1], twin[1], strict=True):
        assert block.calls == other.calls == 2
        torch.testing.assert_close(other.total, block.total)
        torch.testing.assert_close(other.aux, block.aux)


@pytest.mark.parametrize("name", SCHEMES)
def test_copies_and_pickles_run_on_their_own(name):
    for model, args in networks().values():
        swapped = swap_scheme(model, name, example=args).eval()
        expected = output(swapped, args)
        file = io.BytesIO()
        torch.save(swapped, file)
        file.seek(0)
        for other in (
            copy.deepcopy(swapped),
            pickle.loads(pickle.dumps(swapped)),
            torch.load(file, weights_only=False),
        ):
            assert torch.equal(output(other, args), expected)
            with torch.no_grad():
                for parameter in other.parameters():
                    parameter.zero_()
            assert torch.equal(output(swapped, args), expected)
            assert not torch.equal(output(other, args), expected)
            assert unswap(other).state_dict().keys() == model.state_dict().keys()


def test_the_state_dict_keeps_the_originals_keys():
    for model, args in networks().values():
        own = list(model.state_dict())
        for name in ("euler", "ab2"):
            assert list(swap_scheme(model, name, example=args).state_dict()) == own
        learned = list(swap_scheme(model, "lm", example=args).state_dict())
        assert [key for key in learned if key in own] == own
        new = [key for key in learned if key not in own]
        assert new
        assert all(key.rpartition(".")[2] in ("odenets_k_0", "odenets_k_1") for key in new)


def test_checkpoints_go_in_both_directions():
    for (model, args), (trained, _) in zip(networks().values(), networks().values(), strict=True):
        with torch.no_grad():
            for tensor in trained.parameters():
                tensor.add_(0.1)
        trained.eval()
        swapped = swap_scheme(model, "lm", example=args, coefficients=0).eval()
        with pytest.warns(SchemeWarning, match="got none of the .* coefficients of the scheme"):
            swapped.load_state_dict(trained.state_dict())  # strict
        torch.testing.assert_close(output(swapped, args), output(trained, args))
        with torch.no_grad():
            for parameter in placed(swapped):
                parameter.fill_(-0.4)
        other = swap_scheme(model, "lm", example=args, coefficients=0).eval()
        other.load_state_dict(swapped.state_dict())
        assert torch.equal(output(other, args), output(swapped, args))
        model.load_state_dict(unswap(swapped).state_dict())
        torch.testing.assert_close(output(model.eval(), args), output(trained, args))
        first = next(key for key in swapped.state_dict() if is_added(key))
        partial = {key: value for key, value in swapped.state_dict().items() if key != first}
        with pytest.raises(RuntimeError, match=rf"Missing key.*{first}"):
            other.load_state_dict(partial)


@pytest.mark.parametrize("name", ["lm", "heun"])
def test_originals_of_parts_are_loaded_into_the_whole(name):
    model = nn.Sequential(ResNetV1(), ResNetV1())
    parts = nn.Sequential(*[swap_scheme(part, name, example=IMAGES) for part in model])
    with pytest.warns(SchemeWarning) if name == "lm" else nullcontext():
        parts.load_state_dict(nn.Sequential(ResNetV1(), randomise(ResNetV1())).state_dict())  # strict
    own = parts.state_dict()
    first = next(key for key in own if is_added(key) and not key.endswith("tracked"))
    with pytest.raises(RuntimeError, match=rf"Missing key.*{first}"):
        parts.load_state_dict({key: value for key, value in own.items() if key != first})


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_coefficients_have_the_models_dtype(dtype):
    model, args = networks()["deep"]
    args = tuple(a.to(dtype) for a in args)
    swapped = swap_scheme(model.to(dtype), "lm", example=args)
    assert {p.dtype for p in placed(swapped)} == {dtype}
    assert output(swapped, args).dtype == dtype
    assert {p.dtype for p in placed(swapped.float())} == {torch.float32}
    assert output(swapped, tuple(a.float() for a in args)).dtype == torch.float32


@pytest.mark.parametrize("kind", ["resnet", "transformer", "statement"])
def test_autocast(kind):
    model, args = networks()[kind]
    model.eval()
    for name in SCHEMES:
        swapped = swap_scheme(model, name, example=args, coefficients=0.3 if name == "lm" else None)
        exact = output(swapped, args)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, plain = output(swapped, args), output(model, args)
        assert found.dtype == plain.dtype
        # bfloat16 has 8 bits; a few layers lose a few of them
        torch.testing.assert_close(found.float(), exact, rtol=0, atol=0.06 * float(exact.detach().abs().max()))
        assert all(g.isfinite().all() for g in autocast_gradients(swapped, args))
        if name == "euler":
            assert torch.equal(found, plain)


def autocast_gradients(model, args):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = output(model, args)
    return torch.autograd.grad(y.float().square().sum(), list(model.parameters()))


@pytest.mark.parametrize("name", ["euler", "lm", "heun"])
def test_training_lowers_the_loss_and_moves_every_parameter(name):
    torch.manual_seed(0)
    model = ResNetV1()
    original = copy.deepcopy(model.state_dict())
    swapped = swap_scheme(model, name, example=IMAGES).train()
    optimizer = torch.optim.SGD(parameter_groups(swapped, weight_decay=1e-4), lr=0.05, momentum=0.9)
    before = {key: value.clone() for key, value in swapped.named_parameters()}
    labels, losses = torch.tensor([0, 1, 2, 3]), []
    for _ in range(12):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(swapped(IMAGES), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(not torch.equal(value, before[key]) for key, value in swapped.named_parameters())
    assert all(torch.equal(value, original[key]) for key, value in model.state_dict().items())


def test_euler_trains_as_the_original_to_the_bit():
    torch.manual_seed(0)
    model = ResNetV1().train()
    swapped = swap_scheme(model, "euler", example=IMAGES)
    for _ in range(3):
        for one in (model, swapped):
            one(IMAGES).square().sum().backward()
            with torch.no_grad():
                for parameter in one.parameters():
                    parameter.sub_(1e-3 * parameter.grad)
    own = swapped.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["lm", "heun"])
def test_exported_and_traced_models_are_the_same_function(name):
    model, args = networks()["position"]
    swapped = swap_scheme(model, name, example=args).eval()
    exported = torch.export.export(swapped, args, strict=False).module()
    torch.testing.assert_close(exported(2 * args[0]), swapped(2 * args[0]))
    with pytest.raises(FieldError, match=r"cannot be traced by torch\.fx"):
        torch.fx.symbolic_trace(swapped)


def test_func_transforms():
    model, args = networks()["deep"]
    model = model.double()
    x = args[0].double()
    for name in ("euler", "lm", "heun"):
        swapped = swap_scheme(model, name, example=x)
        each = torch.stack([swapped(row[None])[0] for row in x])
        torch.testing.assert_close(torch.func.vmap(lambda row, net=swapped: net(row[None])[0])(x), each)
        jacobian = torch.func.jacrev(swapped)(x)
        torch.testing.assert_close(jacobian, torch.autograd.functional.jacobian(swapped, x))


class PreNorm(nn.Module):
    """Attention of torch, which has a fast path in evaluation that no mode may see."""

    def __init__(self, width=8):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x):
        h = self.norm(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.mlp(x)


@pytest.mark.parametrize("name", ["euler", "lm"])
def test_what_has_no_sum_runs_as_it_did(name, monkeypatch):
    torch.manual_seed(0)
    model, x = nn.Sequential(PreNorm(), PreNorm()).eval(), torch.randn(2, 5, 8)
    swapped = swap_scheme(model, name, example=x, coefficients=0 if name == "lm" else None)
    calls, fast = [], torch._native_multi_head_attention

    def counted(*args, **options):
        calls.append(1)
        return fast(*args, **options)

    monkeypatch.setattr(torch, "_native_multi_head_attention", counted)
    with torch.no_grad():
        assert torch.equal(swapped(x), model(x))
    assert len(calls) == 4  # two of the swapped model, two of the original
    assert not any("forward" in vars(module) for module in unswap(swapped).modules())


# ------------------------------------------------------------------------------------------ several processes

DISTRIBUTED = [("resnet", "heun"), ("transformer", "lm")]


def work(rank, path):
    """One of two processes: the gradients of every case into a file."""
    torch.set_num_threads(1)
    # A process that waits for the other for ever says where, and ends.
    faulthandler.dump_traceback_later(100, exit=True)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # or gloo looks up this machine's name
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{path}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    found = []
    for kind, name in DISTRIBUTED:
        model, args = networks()[kind]
        swapped = swap_scheme(model, name, example=args, coefficients=0.3 if name == "lm" else None)
        parallel = nn.parallel.DistributedDataParallel(swapped)
        found.append(gradients(parallel, (args[0] * (1 + rank), *args[1:])))
    torch.save(found, f"{path}/{rank}")
    torch.distributed.destroy_process_group()
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.skipif(sys.platform != "linux", reason="the two processes are copies")
def test_distributed_data_parallel_averages(tmp_path):
    code = f"import sys; sys.path[:0] = {sys.path!r}; from {__name__} import work; work(%d, {str(tmp_path)!r})"
    commands.printed([code % rank for rank in range(2)], tmp_path / "log")
    found = [torch.load(tmp_path / str(rank)) for rank in range(2)]
    for i, (kind, name) in enumerate(DISTRIBUTED):
        each = []
        for rank in range(2):
            model, args = networks()[kind]
            swapped = swap_scheme(model, name, example=args, coefficients=0.3 if name == "lm" else None)
            each.append(gradients(swapped, (args[0] * (1 + rank), *args[1:])))
        for a, b, c, d in zip(*each, found[0][i], found[1][i], strict=True):
            torch.testing.assert_close(c, d, rtol=0, atol=0)
            torch.testing.assert_close(c, (a + b) / 2, rtol=1e-4, atol=1e-4 * float((a + b).abs().max()))
