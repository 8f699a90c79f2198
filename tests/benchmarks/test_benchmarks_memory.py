import json
import re
import sys
import uuid

import pytest
from commands import answer, printed

import odenets
from odenets.benchmarks.common.errors import BenchmarkError
from odenets.benchmarks.memory import measure as memory_measure, networks as memory_networks
from odenets.benchmarks.memory.__main__ import main
from odenets.benchmarks.memory.networks import OURS, Network

#: float32, 2 images of 4 channels, 8 x 8
STATE = 4 * 2 * 4 * 8 * 8


# What is kept of the state after steps that are run again: two float64 for each carried value.
MARK = 2 * 2 * 8


def saved(way, depth, scheme="leapfrog"):
    network = Network(OURS, scheme, way, depth, h=0.1, channels=4, size=8, batch=2)
    return memory_measure.saved_bytes(network.build(), network.images())


@pytest.mark.parametrize("depth", [2, 8, 32])
def test_direct_saves_three_tensors_a_layer(depth):
    # Of a layer: its input and the input and the value of GELU, which the two convolutions and GELU need.
    assert saved("direct", depth) == 3 * depth * STATE


def test_reversible_saves_the_ends_of_its_segments_however_deep():
    # A start that is run again (u_0 twice, as u and as its history), then a segment that is undone: two values before
    # it and two after. u_0 is one storage, so 1 + 2 + 2.
    assert [saved("reversible", depth) for depth in (4, 8, 32, 64)] == [5 * STATE + MARK] * 4


@pytest.mark.parametrize(("depth", "segments"), [(4, 2), (9, 3), (25, 5)])
def test_checkpoint_saves_the_states_before_its_segments(depth, segments):
    # Two carried values each; before the first they are one tensor.
    assert saved("checkpoint", depth) == (2 * segments - 1) * STATE + segments * MARK


def test_a_tensor_saved_twice_counts_once_and_parameters_not_at_all():
    # Euler of one layer: the input of the first convolution, that of GELU, that of the second convolution.
    assert saved("direct", 1, scheme="euler") == 3 * STATE


def test_a_partitioned_scheme_has_two_functions_of_half_the_channels():
    assert saved("direct", 8, scheme="symplectic_euler") >= 8 * 2 * 3 * STATE // 2
    assert saved("reversible", 8, scheme="symplectic_euler") == saved("reversible", 32, scheme="symplectic_euler")


def test_peak_is_what_is_taken_at_most(tmp_path):
    # In a process of its own, as the benchmark measures: where the kernel keeps the high-water mark of a process
    # from being reset, what other tests took would hide it.
    code = """
from odenets.benchmarks.common import peak_memory
blocks = []
def run():
    blocks.append(bytearray(b"x" * (32 << 20)))
    blocks.clear()
print(peak_memory.peak_bytes(run)[0])
"""
    assert int(printed([code], tmp_path / "log")) >= 30 << 20


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    out, logs, ways = tmp_path_factory.mktemp("memory"), tmp_path_factory.mktemp("logs"), ["direct", "reversible"]

    def answered(module, arguments, allocator):
        # The settings of the allocator are for times and peaks, of which no number is looked at here.
        return answer(logs / f"{uuid.uuid4()}", module, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_measure, "answer", answered)
        assert main(["--quick", "--ways", *ways, "--rounds", "2", "--out", str(out)]) == 0
    return out


def test_the_table_has_a_row_a_way_and_depth(quick):
    page = (quick / "memory.md").read_text()
    # 32 bytes beside 5 states of 2 kB are 5.016 states
    rows = (("direct", 4, "12"), ("direct", 8, "24"), ("reversible", 4, r"5\.016"), ("reversible", 8, r"5\.016"))
    for way, depth, states in rows:
        assert re.search(rf"^\| {way} \| {depth} \| [\d.]+ \| {states} \|", page, re.M)
    assert "reversible saves 0.0098 MiB at depth 4 and 0.0098 MiB at depth 8, that is +0 states" in page
    assert "At most 1.40 times direct, 4 channels: " in page
    assert "## Time at depth 4" in page


def test_the_data_say_what_was_measured_and_where(quick):
    found = json.loads((quick / "memory.json").read_text())
    assert [(r["way"], r["depth"]) for r in found["memory"]] == [
        ("direct", 4),
        ("direct", 8),
        ("reversible", 4),
        ("reversible", 8),
    ]
    for record in found["memory"]:
        assert record["gradient_error"] < 1e-5
        assert record["state_bytes"] == STATE
        # a layer: two convolutions of 4 to 4 channels, with biases
        assert record["parameter_bytes"] == record["depth"] * 2 * (4 * 4 * 9 + 4) * 4
    assert found["memory"][-1]["stored"]["undone"] == 7
    assert 0 < found["memory"][-1]["stored"]["defect"] < 1e-5
    assert [r["way"] for r in found["time"]][:2] == ["direct", "reversible"]
    assert all(len(samples) == 2 for record in found["time"] for samples in record["seconds"].values())
    assert found["hardware"]["threads"] == 1
    assert found["versions"].keys() >= {"torch", "python", "odenets"}
    assert found["command"].startswith("odenets bench memory --quick")


def test_a_peer_that_is_not_there_is_a_line_with_the_reason(quick):
    page = (quick / "memory.md").read_text()
    for name in memory_networks.PEERS:
        reason = memory_networks.why_not(name)
        line = f"- not installed: {name}: {reason}"
        assert (line in page) == (reason is not None)


def test_the_figure_is_a_png(quick):
    assert (quick / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_a_scheme_that_cannot_be_undone_is_measured_the_other_ways(tmp_path, monkeypatch):
    asked = []

    def measured(what, allocator):
        asked.append(what["network"]["way"])
        raise BenchmarkError("no memory left")

    monkeypatch.setattr("odenets.benchmarks.memory.__main__.in_new_process", measured)
    monkeypatch.setattr("odenets.benchmarks.memory.networks.PEERS", {})
    monkeypatch.setattr("odenets.benchmarks.memory.__main__.PEERS", {})
    assert main(["--quick", "--scheme", "rk4", "--out", str(tmp_path)]) == 1
    assert set(asked) == {"direct", "checkpoint", "checkpoint:4"}
    page = (tmp_path / "memory.md").read_text()
    assert (
        "- not run: reversible: gradient='reversible': got rk4, whose step cannot be done and undone explicitly" in page
    )
    assert "- failed: odenets rk4 direct 4 layers: no memory left" in page


def test_a_users_own_scheme(tmp_path):
    own = tmp_path / "own.py"
    own.write_text('import odenets\nmine = odenets.runge_kutta("mine", [[0, 0], ["2/3", 0]], ["1/4", "3/4"])\n')
    mine = memory_networks.scheme_of(f"{own}:mine")
    assert mine == odenets.runge_kutta("mine", [[0, 0], ["2/3", 0]], ["1/4", "3/4"])
    assert memory_networks.scheme_of(f"mccallum_foster:{own}:mine") == odenets.mccallum_foster(mine)
    # Of each of the two evaluations what a layer keeps of one.
    assert saved("direct", 2, scheme=f"{own}:mine") == 2 * 2 * 3 * STATE


def test_a_failed_process_says_why():
    what = {"network": {"library": OURS, "scheme": "eulr", "way": "direct", "depth": 1, "h": 0.1}}
    what["network"] |= {"channels": 2, "size": 2, "batch": 1}
    with pytest.raises(BenchmarkError, match="unknown scheme 'eulr'"):
        memory_measure.in_new_process(what, {})


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--scheme", "leapfrg"], "unknown scheme 'leapfrg'"),
        (["--scheme", "mccallum_foster:rk5"], "unknown scheme 'rk5'"),
        (["--scheme", "nowhere.py:mine"], "expected a name that can be imported: FileNotFoundError"),
        (["--scheme", "mccallum_foster:lm"], "lm: got 2 carried values"),
        (["--ways", "reverse"], "gradient: got 'reverse', expected one of direct, checkpoint, reversible"),
        (["--ways", "checkpoint:many"], "--ways: got 'checkpoint:many', expected one of direct, checkpoint, "),
        (["--ways", "checkpoint:0"], "Checkpoint: states: got 0, expected an integer of at least 1"),
        (["--depths", "4", "0"], "--depths: got 0, expected 1 or more"),
        (["--channels", "3"], "--channels: got 3, expected an even number of 2 or more"),
        (["--time-channels", "4", "5"], "--time-channels: got 5, expected an even number of 2 or more"),
        (["--rounds", "0"], "--rounds: got 0, expected 1 or more"),
        (["--h", "0"], "leapfrog: got step size h = 0.0, expected a finite number other than 0"),
    ],
)
def test_a_mistake_is_one_line_exit_code_2_and_nothing_written(tmp_path, capsys, options, complaint):
    out = tmp_path / "out"
    assert main(["--quick", "--out", str(out), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert complaint in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_an_option_that_is_none_is_one_line_and_exit_code_2(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--depth", "3"])
    assert capsys.readouterr().err.startswith("error: ")


def test_main_of_a_process_prints_one_line_of_json(monkeypatch, capsys):
    one = {"library": OURS, "scheme": "mccallum_foster:rk4", "way": "reversible", "depth": 4, "h": 0.1}
    what = {"network": one | {"channels": 2, "size": 4, "batch": 1}, "rounds": 1}
    monkeypatch.setattr(sys, "argv", ["", json.dumps(what)])
    monkeypatch.setattr(memory_measure.torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(memory_measure, "SHORTEST", 0.0)
    assert memory_measure.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert found["seconds"].keys() == {"direct", "way"}
