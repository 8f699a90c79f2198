"""Swapped models under torch.compile, with a graph or several: values, gradients, and what is left to Python."""

import copy

import pytest
import torch
from loops_multistep import LOOPS as MULTISTEP
from loops_networks import LOOPS as NETWORKS
from loops_runge_kutta import LOOPS as RUNGE_KUTTA
from swap_networks import Position, smooth_network
from swap_runs import POINTS, gradients, networks, output
from torch import nn

from odenets import FieldError, swap_scheme
from odenets.net.learnable_coefficients import is_added
from odenets.swap.owner import owners_of

LOOPS = RUNGE_KUTTA | MULTISTEP | NETWORKS


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
