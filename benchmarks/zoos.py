"""How many of the residual sums of public models swap_scheme takes: ``odenets bench zoos``.

Claim to be tested: of models of torchvision, timm and transformers, one of each family and small, swap_scheme takes
nearly all sums u + f(u) that there are, lists every other one, and under LM with k_n = 0 each is the model that it was,
outputs and gradients, in training. (Under Euler's method it is so in any case: nothing is watched there.) The sums are
counted besides by data flow between operators of aten, below everything that swap_scheme looks at. Weights are as
drawn. A package that is not installed is left out.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from odenets import FieldError, OdenetsError, swap_report, swap_scheme

from .common.command_line import Parser
from .common.files import write_atomic, write_json
from .common.zoos import torchvision

#: operators that hand on what they are given, in another layout or as a copy
SAME = {
    *("view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t", "clone", "contiguous", "alias"),
    *("detach", "unsqueeze", "squeeze", "_to_copy", "expand", "lift_fresh", "roll"),
}
#: models with more parameters are left out, by an error with these words
LARGEST = 32_000_000
TOO_LARGE = "million parameters"
#: parts of names of small models
SMALL = ("atto", "femto", "pico", "xxs", "xx_small", "nano", "tiny", "xs", "18", "26", "_s", "small", "b0")
TOKENS = torch.randint(1, 50, (2, 7), generator=torch.Generator().manual_seed(0))
Case = tuple[str, Callable[[], nn.Module], list[Any]]


class Counter(TorchDispatchMode):
    """Counts sums of which one operand, or what it is a copy of, has gone through a weight into the other."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.kernels = {id(p) for p in model.parameters() if sum(size > 1 for size in p.shape) > 1}
        self.fixed = {id(p) for p in model.parameters()} | {id(b) for b in model.buffers()}
        #: id -> (values it is made of, those by way of a weight, the value that it is a copy of)
        self.known: dict[int, tuple[int, int, int]] = {}
        self.alive: list[Tensor] = []
        self.count = self.sums = 0

    def of(self, x: Tensor) -> tuple[int, int, int]:
        """What is known of a tensor."""
        if id(x) not in self.known:
            self.keep(x, 0, 0, None)
        return self.known[id(x)]

    def keep(self, x: Tensor, before: int, weighed: int, copied: int | None) -> None:
        """Give it a number."""
        self.known[id(x)] = (before | 1 << self.count, weighed, self.count if copied is None else copied)
        self.count += 1
        self.alive.append(x)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator."""
        leaves = [x for x in torch.utils._pytree.tree_leaves((args, kwargs or {})) if isinstance(x, Tensor)]
        name = func._schema.name.split("::")[1]
        given = [self.of(x) for x in leaves if id(x) not in self.fixed]
        if name.rstrip("_") == "add" and len(leaves) == 2 == len(given) and leaves[0].is_floating_point():
            self.sums += any(self._sum(leaves, i) for i in (0, 1))
        value = func(*args, **(kwargs or {}))
        before = weighed = 0
        for own, by, _ in given:
            before, weighed = before | own, weighed | by
        weighed |= before if any(id(x) in self.kernels for x in leaves) else 0
        for x in torch.utils._pytree.tree_leaves(value):
            if not isinstance(x, Tensor):
                continue
            if leaves and all(id(y) in self.fixed for y in leaves):
                self.fixed.add(id(x))
                self.alive.append(x)
                self.kernels |= {id(x)} if any(id(y) in self.kernels for y in leaves) else set()
            elif not (name in SAME and any(x is y for y in leaves)):
                same = name in SAME and given and x.numel() == leaves[0].numel()
                self.keep(x, before, weighed, given[0][2] if same else None)
        return value

    def _sum(self, leaves: list[Tensor], i: int) -> bool:
        (_, _, copied), (_, weighed, _) = self.of(leaves[i]), self.of(leaves[1 - i])
        equal = [own for own, _, same in self.known.values() if same == copied]
        return leaves[i].numel() >= leaves[1 - i].numel() and any(weighed >> own.bit_length() - 1 & 1 for own in equal)


def cases() -> Iterator[Case]:
    """Name, how it is made, and examples of which the first that runs is taken."""
    try:
        models = torchvision().models
    except ImportError:
        return
    sizes = [torch.randn(2, 3, size, size) for size in (64, 96, 224, 256, 299, 384)]
    for names in _families(models.list_models(module=models), lambda name: name.rstrip("_0123456789bdfglmsxt")):
        for name in names[:2]:
            yield f"torchvision/{name}", lambda name=name: models.get_model(name, weights=None), sizes
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        return
    for module in timm.list_modules():
        for name in sorted(timm.list_models(module=module), key=_small)[:2]:
            yield f"timm/{name}", lambda name=name: timm.create_model(name, num_classes=10), sizes
    yield from _language()


def _families(names: Sequence[str], of: Callable[[str], str]) -> list[list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(names, key=_small):
        found.setdefault(of(name), []).append(name)
    return list(found.values())


def _small(name: str) -> tuple[int, int, str]:
    return next((i for i, part in enumerate(SMALL) if part in name), len(SMALL)), len(name), name


#: families of transformers that build from these alone
LANGUAGE = """
llama mistral qwen2 qwen3 gemma gemma2 phi phi3 gpt_neox gptj cohere olmo olmo2 stablelm starcoder2 falcon bloom opt
gpt2 gpt_neo gpt_bigcode codegen persimmon granite glm helium bert roberta electra albert deberta distilbert mpnet
roformer convbert ernie nystromformer fnet modernbert esm biogpt xglm
"""


def _language() -> Iterator[Case]:
    try:
        transformers = importlib.import_module("transformers")
    except ImportError:
        return
    small = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
    small |= {"intermediate_size": 48, "max_position_embeddings": 64, "pad_token_id": 0, "num_key_value_heads": 4}
    for kind in LANGUAGE.split():

        def make(kind: str = kind) -> nn.Module:
            config = transformers.AutoConfig.for_model(kind, **small)
            model: nn.Module = transformers.AutoModel.from_config(config)
            return model

        yield f"transformers/{kind}", make, [{"input_ids": TOKENS, "use_cache": False}, {"input_ids": TOKENS}]


def run(model: nn.Module, example: Any) -> Tensor:
    """The first tensor that the model returns."""
    found = model(**example) if isinstance(example, dict) else model(example)
    leaves = torch.utils._pytree.tree_leaves(found if isinstance(found, (Tensor, tuple, list)) else dict(found))
    first: Tensor = next(x for x in leaves if isinstance(x, Tensor) and x.is_floating_point())
    return first


def measured(make: Callable[[], nn.Module], examples: list[Any]) -> dict[str, Any]:
    """One model: the sums counted and taken, why others are left, and whether LM with k_n = 0 is the original."""
    try:
        with torch.device("meta"):
            size = sum(p.numel() for p in make().parameters())
    except NotImplementedError:  # it reads what it draws
        size = 0
    if size > LARGEST:
        raise OdenetsError(f"it has {size / 1e6:.0f} {TOO_LARGE}")
    torch.manual_seed(0)
    model = make().eval()
    example = next(x for x in examples if _runs(model, x))
    counter = Counter(model)
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad(), counter:
        run(model, example)
    row: dict[str, Any] = {"sums": counter.sums, "taken": 0, "listed": 0, "left": {}, "equal": None, "heun": ""}
    try:
        swapped = swap_scheme(model, "lm", example=example, coefficients=0)
    except FieldError as error:
        return {**row, "left": {str(error).split("by way of weights. ")[-1][:160]: 1}}
    report = swap_report(swapped)
    row["taken"], row["listed"] = sum(one.chain >= 0 for one in report.sums), len(report.sums)
    for one in report.sums:
        if one.reason:
            reason = one.reason.split(" (")[0].split(" by ")[0]
            row["left"][reason] = row["left"].get(reason, 0) + 1
    row["equal"] = _equal(copy.deepcopy(model).train(), swapped.train(), example)
    try:
        with torch.no_grad():
            run(swap_scheme(model, "heun", example=example), example)
        row["heun"] = "runs"
    except FieldError as error:
        row["heun"] = str(error)[:160]
    return row


def _runs(model: nn.Module, example: Any) -> bool:
    try:
        with torch.no_grad():
            run(model, example)
    except Exception:  # whatever somebody's forward raises
        return False
    return True


def _equal(model: nn.Module, swapped: nn.Module, example: Any) -> bool:
    found, names = [], [name for name, _ in model.named_parameters()]
    for one in (model, swapped):
        torch.manual_seed(1)
        y, own = run(one, example), dict(one.named_parameters())
        y.square().mean().backward()
        gradients = [own[name].grad for name in names if own[name].grad is not None]
        found.append([y.detach(), *gradients, *one.buffers()])
    return len(found[0]) == len(found[1]) and all(map(torch.equal, *found))


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The page."""
    good = [row for row in rows.values() if "error" not in row]
    taken, sums = sum(row["taken"] for row in good), sum(row["sums"] for row in good)
    equal = sum(row["equal"] is True for row in good)
    swapped = sum(row["taken"] > 0 for row in good)
    lines = [
        "# Public models, swapped",
        "",
        f"{len(good)} models ran; in {swapped} of them there are sums to take, {taken} are taken, and {sums} counted",
        f"by operators. In training, under LM with k_n = 0, {equal} are the original to the bit: outputs, gradients",
        "and buffers.",
        "",
        "| model | counted | taken | LM, k = 0 | Heun | left alone |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        if "error" in row:
            continue
        left = "; ".join(f"{count} x {reason}" for reason, count in row["left"].items())
        equal_text = {None: "", True: "equal", False: "**differs**"}[row["equal"]]
        lines.append(f"| {name} | {row['sums']} | {row['taken']} | {equal_text} | {row['heun']} | {left} |")
    large = [name for name, row in rows.items() if TOO_LARGE in row.get("error", "")]
    failed = [f"{name} ({row['error']})" for name, row in rows.items() if "error" in row and name not in large]
    size = f"Not tried, since they have more than {LARGEST / 1e6:.0f} million parameters"
    for what, names in ((size, large), ("Did not run, as they came", failed)):
        lines += ["", f"{what}: {', '.join(names) or 'none'}."]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run all models, or again those whose names have ``--only`` in them."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="models with this in their name")
    parser.add_argument("--out", type=Path, default=Path("out/zoos"), help="folder for zoos.md and zoos.json")
    options = parser.parse_args(argv)
    before = options.out / "zoos.json"
    rows: dict[str, dict[str, Any]] = json.loads(before.read_text()) if options.only and before.exists() else {}
    for name, make, examples in cases():
        if options.only not in name:
            continue
        start = time.perf_counter()
        try:
            rows[name] = measured(make, examples)
        except Exception as error:  # whatever a zoo raises
            rows[name] = {"error": f"{type(error).__name__}: {str(error).splitlines()[:1]}"[:160]}
        print(f"{name} {time.perf_counter() - start:.1f} s {json.dumps(rows[name])[:300]}", flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        write_json(options.out / "zoos.json", rows)
        write_atomic(options.out / "zoos.md", table(rows).encode())
    return 0
