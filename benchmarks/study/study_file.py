"""A study: a YAML file that names its runs, checked when read."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from ..common.errors import ConfigError, DataError
from ..data.sources import source
from .config import RunConfig

FOLDER = Path(__file__).parent / "studies"
#: What a recipe may say: all of a run but what the study and its groups say of it.
RECIPE = tuple(one.name for one in fields(RunConfig) if one.name not in ("data", "depth", "scheme", "seed"))


@dataclass(frozen=True)
class Group:
    """Runs for every combination of schemes, depths and seeds, with what differs from the study's recipe."""

    schemes: tuple[str, ...]
    depths: tuple[int, ...]
    seeds: tuple[int, ...]
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Any) -> Group:
        """The group that a file has under these keys; ConfigError for any that it cannot have."""
        check_keys(values, needed=("schemes", "depths", "seeds"), optional=RECIPE)
        axes = {name: entries(name, values[name], kind) for name, kind in GROUP_AXES.items()}
        return cls(**axes, recipe={name: value for name, value in values.items() if name not in axes})


GROUP_AXES = {"schemes": str, "depths": int, "seeds": int}


@dataclass(frozen=True)
class Study:
    """Runs that belong together.

    Args:
        name: of the study and of the folder of its results: lower-case letters, digits, hyphens.
        title: one line that says what is asked.
        data: name of the data set.
        groups: of runs; one that two groups name is one run.
        recipe: for all runs, where a group does not say otherwise. Without ``epochs``, those usual for the data.

    Raises:
        ConfigError: naming what cannot be.
    """

    name: str
    title: str
    data: str
    groups: tuple[Group, ...]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    runs: tuple[RunConfig, ...] = field(init=False)

    def __post_init__(self) -> None:
        for name in ("name", "title", "data"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(f"{name}: got {getattr(self, name)!r}, expected text")
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise ConfigError(f"name: got {self.name!r}, expected lower-case letters, digits and hyphens between them")
        object.__setattr__(self, "runs", tuple(dict.fromkeys(self._expand())))

    def _expand(self) -> Iterable[RunConfig]:
        """Seeds slowest: an unfinished study has whole seeds to compare."""
        common = {"epochs": source(self.data).epochs, **self.recipe}
        for seed in dict.fromkeys(seed for group in self.groups for seed in group.seeds):
            for group in (group for group in self.groups if seed in group.seeds):
                for depth, scheme in itertools.product(group.depths, group.schemes):
                    yield RunConfig(self.data, depth, scheme, seed, **{**common, **group.recipe})

    @classmethod
    def from_dict(cls, values: Any) -> Study:
        """The study that a file has under these keys; ConfigError or DataError for any that it cannot have."""
        check_keys(values, needed=("name", "title", "data", "groups"), optional=("recipe",))
        recipe = values.get("recipe", {})
        within("recipe", check_keys, recipe, needed=(), optional=RECIPE)
        groups = entries("groups", values["groups"], dict)
        parts = tuple(within(f"groups[{i}]", Group.from_dict, group) for i, group in enumerate(groups))
        return cls(**{**values, "groups": parts, "recipe": recipe})

    def resolved(self) -> dict[str, Any]:
        """Every run with every value, as JSON can hold it: what a later version's defaults cannot change."""
        runs = [{"name": run.name, **asdict(run)} for run in self.runs]
        return {"name": self.name, "title": self.title, "data": self.data, "runs": runs}


def within(where: str, check: Any, *args: Any, **options: Any) -> Any:
    """The result of a check, whose error says where in the file it was."""
    try:
        return check(*args, **options)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def check_keys(values: Any, needed: Iterable[str], optional: Iterable[str]) -> None:
    """ConfigError unless ``values`` is a mapping with the needed keys and none but these and the optional ones."""
    known = [*needed, *optional]
    if not isinstance(values, dict):
        raise ConfigError(f"got {values!r}, expected a mapping with the keys {', '.join(known)}")
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            raise ConfigError(
                f"unknown key {key!r}, " + (f"did you mean {close[0]}?" if close else f"expected {known}")
            )
    if missing := [key for key in needed if key not in values]:
        raise ConfigError(f"got no {missing[0]}, expected all of {', '.join(needed)}")


def entries(name: str, values: Any, kind: type) -> tuple[Any, ...]:
    """A list as a tuple; ConfigError if it is none, is empty, has an entry of another type or one twice."""
    if not isinstance(values, list) or not values or any(type(value) is not kind for value in values):
        raise ConfigError(f"{name}: got {values!r}, expected a list of one {kind.__name__} or more")
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ConfigError(f"{name}: got {value!r} more than once, expected each once")
    return tuple(values)


class Loader(yaml.SafeLoader):
    """YAML without two traps of PyYAML: a key given twice is an error, and 5e-4 is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, after a check of its keys: the last of two would silently win."""
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is there twice", problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


# YAML 1.1 wants a point in a number with an exponent, and takes 5e-4 for text. YAML 1.2 does not.
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def shipped() -> list[str]:
    """Names of the studies that come with odenets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(given: str) -> Study:
    """The study in a file, or the shipped one of that name.

    Raises:
        ConfigError: neither is there, or the file is no study; it names the file, and what is wrong in it.
    """
    path = FOLDER / f"{given}.yaml" if given in shipped() else Path(given)
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"study: got {given!r}, expected a file .yaml or one of {', '.join(shipped())}")
    try:
        return Study.from_dict(yaml.load(path.read_text(encoding="utf-8"), Loader))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is missing; give a study's file or one of {', '.join(shipped())}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    except (ConfigError, DataError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
