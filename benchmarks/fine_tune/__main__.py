"""A network somebody has, under another scheme, fine-tuned: ``odenets bench fine_tune``.

A network is trained as it is (forward Euler), swapped with its new coefficients at 0 (the same function, which is
checked), and fine-tuned; as a control the original is trained further for the same epochs, on the same images in the
same order. Test errors, learned coefficients and the diagnoses before and after are written to --out. The same
command goes on where an earlier one stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from odenets import OdenetsError, analysis, schemes, swap_report, swap_scheme
from odenets.analysis.cli.diagnosis import build

from ..common import machine
from ..common.command_line import INTERRUPTED, USER_ERROR, Parser, as_given
from ..common.errors import BenchmarkError, ConfigError
from ..common.files import write_json
from ..common.lock import exclusive
from ..data.dataset import Dataset
from ..data.sources import load, names
from ..study import epoch_end, run_state, training
from ..study.config import PRECISIONS, RunConfig
from . import report

COMMAND = "odenets bench fine_tune"
DEFAULT = "odenets.benchmarks.fine_tune.plain_resnet:resnet20"
#: largest difference of the outputs right after the swap, relative to the largest output
ROUNDING = 1e-4


@dataclass(frozen=True)
class Phase(RunConfig):
    """One training: ``depth`` counts the residual sums that are swapped; ``network`` is the factory with its arguments.

    ``after``: for a fine-tuning, the training before it, as its hash.
    """

    network: str = ""
    phase: str = ""
    after: str = ""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = Parser(prog=COMMAND, description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--data-dir", type=Path, default=Path("data"), help="folder with the files of the data set")
    add("--data-set", choices=sorted(names()), default="cifar10", help="which one")
    add("--out", type=Path, default=Path("out/fine_tune"), help="folder of checkpoints and results")
    add("--model", default=DEFAULT, metavar="MODULE:FACTORY", help="what builds the network")
    add("--args", nargs="+", metavar="NAME=VALUE", help="its arguments; of the default: num_classes, in_channels")
    add("--scheme", default="lm", help="in odenets.schemes: one that is Euler where its coefficients are 0")
    add("--epochs", type=int, default=3, help="of the network as it is")
    add("--fine-tune", type=int, default=2, help="epochs afterwards, each way")
    add("--seed", type=int, default=0, help="of weights, order and augmentation")
    add("--lr", type=float, default=0.1, help="learning rate; a tenth after half and again after 3/4 of the epochs")
    add("--fine-lr", type=float, default=0.01, help="of the fine-tuning, falling likewise")
    add("--batch-size", type=int, default=128, help="images a step")
    add("--precision", choices=PRECISIONS, default="bf16", help="of training; errors are counted in fp32")
    add("--threads", type=int, help="of the processor; torch's choice unless given")
    add("--samples", type=int, default=2, help="test images to diagnose at; 0: no diagnosis")
    return parser.parse_args(argv)


def network(options: argparse.Namespace, data: Dataset) -> nn.Module:
    """The untrained network, drawn from the seed."""
    given = options.args
    if given is None:
        known = [f"num_classes={data.num_classes}", f"in_channels={data.in_channels}"]
        given = known if options.model == DEFAULT else []
    torch.manual_seed(options.seed)
    return build(options.model, given)


def phases(options: argparse.Namespace, sums: int) -> tuple[Phase, Phase, Phase]:
    """The training, the fine-tuning of the swapped network, and the control."""
    first = Phase(
        data=options.data_set,
        depth=sums,
        scheme="euler",
        seed=options.seed,
        epochs=options.epochs,
        batch_size=options.batch_size,
        lr=options.lr,
        precision=options.precision,
        channels_last=True,
        network=" ".join([options.model, *(options.args or [])]),
        phase="original",
    )
    # Another seed, since an epoch's order and augmentation are drawn from the seed and its number.
    later = replace(first, seed=options.seed + 1, epochs=options.fine_tune, lr=options.fine_lr, after=first.hash)
    return first, replace(later, scheme=options.scheme, phase="swapped"), replace(later, phase="control")


def train(model: nn.Module, phase: Phase, data: Dataset, out: Path) -> run_state.State:
    """Train a network to the end of a phase, from the phase's checkpoint where there is one."""
    total, steps = phase.epochs, run_state.steps_per_epoch(phase, data)
    state = run_state.begin(model, phase, data)
    directory = out / phase.phase
    directory.mkdir(parents=True, exist_ok=True)
    with tqdm(total=total * steps, desc=phase.phase, unit="step", mininterval=5) as bar:

        def watch(state: run_state.State) -> None:
            bar.n = state.epoch * steps + state.step
            bar.update(0)

        state = training.train(phase, data, directory, state=state, checkpoint_every=100, watch=watch)
        watch(state)  # a training that was over already has called nobody
    return state


@torch.inference_mode()
def outputs(model: nn.Module, data: Dataset) -> tuple[Tensor, Tensor]:
    """What a network says of the test images, in fp32, and their labels."""
    model.eval()
    found = [(model(images), labels) for images, labels in data.test_batches(epoch_end.EVALUATION_BATCH)]
    scores, labels = zip(*found, strict=True)
    return torch.cat(scores), torch.cat(labels)


def error(found: Tensor, labels: Tensor) -> float:
    """Test images classified wrongly, in %."""
    return 100.0 * int((found.argmax(1) != labels).sum()) / len(labels)


def swap(model: nn.Module, scheme: str, data: Dataset) -> nn.Module:
    """The network under the scheme, its coefficients at 0."""
    zero = 0.0 if schemes[scheme].symbols else None
    example, _ = next(data.test_batches(2))
    return swap_scheme(model.eval(), scheme, example=example, coefficients=zero)


def compare(before: Tensor, after: Tensor) -> float:
    """Largest difference of the outputs relative to the largest output; BenchmarkError for more than rounding."""
    difference = float((before - after).abs().max() / before.abs().max())
    if not difference <= ROUNDING:
        raise BenchmarkError(
            f"the swapped network is another function: its outputs differ by {difference:.1e}, expected at most "
            f"{ROUNDING:.0e}; use a scheme that is Euler where its coefficients are 0, such as lm"
        )
    return difference


def run(options: argparse.Namespace, data: Dataset) -> tuple[dict[str, Any], dict[str, nn.Module]]:
    """All of it but the diagnoses: the numbers, and the networks right after the swap and in the end."""
    model = network(options, data)
    found = swap_report(swap(model, options.scheme, data))
    first, later, control = phases(options, sum(sum(chain.sums) for chain in found.chains))
    original = train(model, first, data, options.out).model
    before, labels = outputs(original, data)
    swapped = swap(original, options.scheme, data)
    after, _ = outputs(swapped, data)
    difference = compare(before, after)
    # One way after the other from the same weights: the control takes the original itself, so it comes last.
    tuned = train(swap(original, options.scheme, data), later, data, options.out)
    further = train(original, control, data, options.out)
    errors = {
        "before": error(before, labels),
        "right after the swap": error(after, labels),
        "fine-tuned under the scheme": error(*outputs(tuned.model, data)),
        "control: trained further as it was": error(*outputs(further.model, data)),
    }
    values = {
        "scheme": options.scheme,
        "test_errors": errors,
        "difference": difference,
        "phases": [one.to_dict() for one in (first, later, control)],
        "history": {"swapped": tuned.history, "control": further.history},
        "report": str(found),
        "learned_coefficients": coefficients({"right after the swap": swapped, "fine-tuned": tuned.model}),
    }
    return values, {"before": swapped, "after": tuned.model}


def coefficients(models: dict[str, nn.Module]) -> dict[str, list[dict[str, Any]]]:
    """Records of the learned coefficients by name; none for a scheme without any."""
    found = {name: [one.as_dict() for one in analysis.learned_coefficients(model)] for name, model in models.items()}
    return {name: records for name, records in found.items() if records}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 2 for a user error, 130 if interrupted."""
    options = parse(argv)
    command = as_given(COMMAND, argv)
    try:
        if options.samples < 0:
            raise ConfigError(f"--samples: got {options.samples}, expected 0 or more")
        machine.make_repeatable()
        if options.threads:
            torch.set_num_threads(options.threads)
        data = load(options.data_set, options.data_dir)
        with exclusive(options.out):
            values, models = run(options, data)
            facts = {"command": command, **machine.hardware(data.device), **machine.versions()}
            write_json(options.out / "fine_tune.json", {**values, **facts})
            images, _ = next(data.test_batches(max(options.samples, 1)))
            found = {n: analysis.diagnose(m, images, dense_limit=512) for n, m in models.items() if options.samples}
            page = report.write({**values, **facts}, found, options.out)
        print(page, f"Wrote {options.out}", sep="\n")
    except KeyboardInterrupt:
        print(f"interrupted: the same command goes on from {options.out}", file=sys.stderr)
        return INTERRUPTED
    except (OdenetsError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
