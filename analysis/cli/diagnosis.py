"""The command that diagnoses a network: diagnose MODULE:FACTORY."""

from __future__ import annotations

import argparse
import ast
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from odenets import OdenetsError

from ..networks.saved_files import read
from ..text.console import watched
from .shared_options import add_network, add_out, check_place, drawn
from .users_objects import imported

if TYPE_CHECKING:
    from .. import Diagnosis


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("factory", metavar="MODULE:FACTORY", help="what builds it, e.g. odenets.models:cifar_resnet")
    add_network(parser, required=True)
    add_out(parser, "spectra and stability regions")
    parser.add_argument("--quick", action="store_true", help="only what decides: the largest |zeta| and Re lambda")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers into this file")


def _diagnose(options: argparse.Namespace) -> str:
    if options.out is not None:
        from .. import plot  # noqa: PLC0415 - loads matplotlib

        plot.check_path(options.out)  # before the work, which may take minutes
    if options.json is not None:
        check_place("--json", options.json)
    found = diagnosed(options, options.factory)
    wrote = drawn(options.out, lambda plot: plot.diagnosis(found, title=f"Numerical diagnosis of {options.factory}"))
    if options.json is not None:
        wrote.append(_write_json(options.json, found.as_dict()))
    return "\n\n".join([found.text(), *wrote])


def diagnosed(options: argparse.Namespace, factory: str) -> Diagnosis:
    """The diagnosis of what MODULE:FACTORY builds, by the options of a network."""
    from .. import diagnose  # noqa: PLC0415 - loads scipy

    batch = read_input(options.input)
    model = build(factory, options.args)
    if options.weights is not None:
        load_weights(model, options.weights)
    dtype = getattr(torch, options.dtype)
    quick = getattr(options, "quick", False)  # which the explorer does not ask for: it shows the whole spectrum
    return diagnose(model, batch, samples=options.samples, dtype=dtype, progress=watched(), quick=quick)


def build(target: str, assignments: list[str]) -> nn.Module:
    """The model that MODULE:FACTORY makes of NAME=VALUE arguments.

    Args:
        target: a dotted module name, a colon, a name in it (dots allowed) of a factory, or of a model.
        assignments: values are read as Python literals, and as text where they are none.

    Raises:
        OdenetsError: no such module or name, arguments that do not fit, a result that is no module.
    """
    module, _, name = target.rpartition(":")
    if not (module and name):
        raise OdenetsError(f"got the factory {target!r}, expected MODULE:FACTORY such as odenets.models:cifar_resnet")
    arguments = dict(_assignment(item) for item in assignments)
    factory = imported(module, name, target, "MODULE:FACTORY")
    if isinstance(factory, nn.Module):
        return _without_arguments(factory, target, arguments)
    try:
        model = factory(**arguments)
    except OdenetsError:
        raise
    except Exception as error:
        raise OdenetsError(
            f"{target}: got the arguments {arguments}, expected what it takes: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise OdenetsError(f"{target}: got a {type(model).__name__}, expected a factory of torch.nn.Module")
    return model


def _without_arguments(model: nn.Module, target: str, arguments: dict[str, Any]) -> nn.Module:
    if arguments:
        raise OdenetsError(f"{target}: got the arguments {arguments} for a model that is built already, expected none")
    return model


def _assignment(item: str) -> tuple[str, Any]:
    name, equals, text = item.partition("=")
    if not (name.isidentifier() and equals):
        raise OdenetsError(f"--args: got {item!r}, expected NAME=VALUE such as depth=20")
    try:
        return name, ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return name, text


def load_weights(model: nn.Module, path: Path) -> None:
    """Put the state_dict in ``path`` into the model.

    Raises:
        OdenetsError: a file that is missing, damaged, holds more than tensors and plain values, or
            is another network's.
    """
    content = read(path, lambda: torch.load(path, map_location="cpu", weights_only=True), "a state_dict of torch.save")
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        raise OdenetsError(
            f"{path}: got a checkpoint with the key 'state_dict', expected the state_dict itself; save "
            "checkpoint['state_dict'] into a file of its own"
        )
    try:
        model.load_state_dict(content)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise OdenetsError(f"{path}: got weights that do not fit {type(model).__name__}: {reason[:300]}") from error


def read_input(path: Path) -> Tensor:
    """The batch in a .npy or .pt file, as it is: whole numbers stay whole, token numbers for an embedding.

    Raises:
        OdenetsError: another suffix, a file that is missing or damaged, numbers that are not finite.
    """
    if path.suffix == ".npy":
        batch = read(path, lambda: torch.from_numpy(np.load(path, allow_pickle=False)), "an array of numpy.save")
    elif path.suffix == ".pt":
        batch = read(path, lambda: torch.load(path, map_location="cpu", weights_only=True), "a tensor of torch.save")
    else:
        raise OdenetsError(f"got the input {str(path)!r}, expected a name ending in .npy or .pt")
    if not isinstance(batch, Tensor) or batch.is_complex():
        got = f"a tensor of {batch.dtype}" if isinstance(batch, Tensor) else type(batch).__name__
        raise OdenetsError(f"{path}: got {got}, expected a tensor of real numbers, one sample along dimension 0 each")
    if not bool(batch.isfinite().all()):
        raise OdenetsError(f"{path}: got numbers that are not finite, expected a batch without NaN or infinity")
    return batch


def _write_json(path: Path, values: dict[str, Any]) -> str:
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return f"Wrote {path}"


COMMANDS = {"diagnose": (_add, _diagnose)}
