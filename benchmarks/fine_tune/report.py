"""The page and the figures of ``odenets bench fine_tune``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from odenets.analysis import plot
from odenets.analysis.networks.diagnosis import Diagnosis
from odenets.analysis.plot import style

from ..common.files import write_atomic
from ..study import diagnose

NAME = "fine_tune.md"
TITLES = {"before": "right after the swap", "after": "fine-tuned"}


def write(values: Mapping[str, Any], found: Mapping[str, Diagnosis], out: Path) -> str:
    """Writes the page, a figure of the coefficients, and figure, numbers and text of each diagnosis; returns the page.

    Args:
        values: what fine_tune.json holds.
        found: "before" and "after" -> diagnosis of the swapped network, or nothing.
        out: the folder.
    """
    parts = [introduction(values), errors(values), coefficients(values, out), diagnoses(values, found, out)]
    page = "\n\n".join(part for part in [*parts, machine(values)] if part) + "\n"
    write_atomic(out / NAME, page.encode())
    return page


def introduction(values: Mapping[str, Any]) -> str:
    """What was done."""
    first, later, _ = values["phases"]
    return (
        f"# Swapped to {values['scheme']} and fine-tuned\n\n"
        f"{first['network']} on {first['data']}, seed {first['seed']}: trained for {first['epochs']} epochs as it is "
        f"(forward Euler, learning rate {first['lr']:g}), swapped, then fine-tuned for {later['epochs']} epochs "
        f"(learning rate {later['lr']:g}) under {values['scheme']}; as a control, trained for as many epochs further "
        f"as it was, on the same images in the same order. One seed and few epochs: the difference of the two ways "
        f"cannot be told from chance."
    )


def errors(values: Mapping[str, Any]) -> str:
    """The table of test errors."""
    rows = [f"| {name} | {error:.2f} |" for name, error in values["test_errors"].items()]
    difference = f"{values['difference']:.1e}"
    return "\n".join(
        [
            "| network | test error, % |",
            "|---|---|",
            *rows,
            "",
            "Largest difference of the outputs over all test images right after the swap, relative to the largest "
            f"output: {difference}.",
        ]
    )


def coefficients(values: Mapping[str, Any], out: Path) -> str:
    """The learned coefficients as figures and in a table; empty for a scheme without any."""
    records: Mapping[str, Sequence[Mapping[str, Any]]] = values["learned_coefficients"]
    if not records:
        return ""
    symbols = sorted({record["symbol"] for run in records.values() for record in run})
    lines = ["## Learned coefficients"]
    for symbol in symbols:
        chosen = {name: [dict(r) for r in run if r["symbol"] == symbol] for name, run in records.items()}
        # Without the limit of zero-stability: what a few epochs change would be too small to see beside it.
        style.save(plot.learned_coefficients(chosen, symbol=symbol, limit=None), out / f"learned-{symbol}.png")
        lines.append(f"![{symbol} over the layers, before and after](learned-{symbol}.png)")
    last = list(records.values())[-1]
    named = [f"{r['symbol']} = {_number(r['value'])} (layer {r['layer']})" for r in last]
    return "\n\n".join([*lines, f"After fine-tuning: {', '.join(named)}."])


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "per channel"


def diagnoses(values: Mapping[str, Any], found: Mapping[str, Diagnosis], out: Path) -> str:
    """What odenets.analysis.diagnose says before and after; empty where it was not asked."""
    if not found:
        return ""
    first = values["phases"][0]
    for name, diagnosis in found.items():
        title = f"{first['network']} under {values['scheme']}, {TITLES[name]}"
        facts = {key: values[key] for key in ("command", "processor", "threads", "torch", "odenets")}
        diagnose.write(diagnosis, out / f"diagnosis-{name}", title, facts)
    rows = [
        f"| {before.layer} | {_largest(before)} | {_largest(after)} | {_step(before)} | {_step(after)} |"
        for before, after in zip(found["before"].blocks, found["after"].blocks, strict=True)
    ]
    links = [f"![Diagnosis {TITLES[name]}](diagnosis-{name}.png)" for name in found]
    return "\n\n".join(
        [
            "## Diagnosis",
            f"At {found['before'].settings['samples']} test image(s); the largest factor abs(zeta) that a step "
            "multiplies an eigenmode of the branch's Jacobian by (under lm, of the pair u_n, u_{n-1}), and the "
            "effective step.",
            "\n".join(
                [
                    "| sum | abs(zeta), after the swap | fine-tuned | effective step, after the swap | fine-tuned |",
                    "|---|---|---|---|---|",
                    *rows,
                ]
            ),
            *links,
        ]
    )


def _largest(block: Any) -> str:
    return "-" if block.amplification is None else f"{block.amplification.maximum:.3f}"


def _step(block: Any) -> str:
    return "-" if block.effective_step is None else f"{block.effective_step:.3f}"


def machine(values: Mapping[str, Any]) -> str:
    """The report of the swap, and where it was computed."""
    facts = ", ".join(f"{key} {values[key]}" for key in ("processor", "device", "threads", "torch"))
    return f"## What was swapped\n\n```text\n{values['report']}\n```\n\nComputed on: {facts}. `{values['command']}`"
