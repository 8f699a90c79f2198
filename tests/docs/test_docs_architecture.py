"""docs/architecture.md against the code: the picture of the rooms, and the ways of a tensor and of a coefficient.

A stop of a way is written ``file.py: name``. Each way has a Python block, and its stops are called in this order when
the block runs.
"""

import ast
import functools
import re
import sys
import textwrap

import pytest
import torch
from house.test_rooms import FILES, PACKAGES, ROOT, imported, layers as rooms_in_order

TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
STOP = re.compile(r"`([\w/]+\.py):\s+([\w.]+)`")
BLOCK = re.compile(r"```python\n(.*?)```(.*?)(?=```python|\n## |\Z)", re.S)


# ---------------------------------------------------------------- the rooms


def drawn():
    """Names of the rooms on each line of the picture, the names of the boxes before them."""
    box, lines = "", []
    for line in re.search(r"```text\n(.*?)```", TEXT, re.S).group(1).splitlines():
        box = line.split()[1] if line.startswith("┌") else box
        if line.startswith("│"):
            lines.append([f"{box}.{name.strip()}" for name in line.strip("│").split("|")])
    return lines


def contract():
    """The same of setup.cfg: those that stand beside each other on one line."""
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8").split("\nlayers =\n")[1].split("\n\n")[0]
    return [line.replace(" ", "").split("|") for line in text.splitlines()]


def test_the_picture_is_the_contract():
    assert drawn() == contract()
    assert [room for line in drawn() for room in line] == rooms_in_order()
    lines = re.search(r"```text\n(.*?)```", TEXT, re.S).group(1).splitlines()
    assert len({len(line) for line in lines if line[0] in "┌│└"}) == 1  # the boxes close


def room_of(module):
    """The room of a module, by the names of the picture."""
    top = max((name for name in PACKAGES.values() if f"{module}.".startswith(f"{name}.")), key=len)
    parts = [next(folder for folder, name in PACKAGES.items() if name == top), *module[len(top) :].split(".")[1:2]]
    return ".".join(parts)


def arrows():
    """Room -> the rooms it imports."""
    found = {room: set() for room in rooms_in_order()}
    for module in FILES:
        if room_of(module) in found:
            found[room_of(module)] |= {room_of(name) for name in imported(module)} - {room_of(module)}
    return found


def test_every_arrow_points_down():
    height = {room: row for row, line in enumerate(drawn()) for room in line}
    for room, others in arrows().items():
        assert [other for other in others if other in height and height[other] <= height[room]] == [], room


def sentence(room):
    """The first sentence of the room's docstring."""
    file = next(p for p in (ROOT / f"{room.replace('.', '/')}{end}" for end in (".py", "/__init__.py")) if p.exists())
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))).split("\n\n")[0].replace("\n", " ")
    return re.sub(r"``", "`", re.split(r"(?<=[\w`\]])\. ", f"{said} ")[0].strip().rstrip("."))


def described():
    """The list of the rooms, as the page has it."""
    order, found = [*rooms_in_order(), "analysis", "odenets"], []
    for room, others in arrows().items():
        folder = room.split(".")[0]
        short = [f"`{name.removeprefix(f'{folder}.')}`" for name in sorted(others, key=order.index)]
        said = f"Imports {', '.join(short)}." if short else "Imports none of these."
        item = f"- **{room}**: {sentence(room)}. {said}"
        found.append(textwrap.fill(item, 120, subsequent_indent="  ", break_on_hyphens=False))
    return "\n".join(found)


def test_the_list_of_rooms_is_what_they_say_and_import():
    assert described() in TEXT, f"docs/architecture.md should have:\n{described()}"


# ---------------------------------------------------------------- the ways


def definition(file, name):
    """The definition that a dotted name stands for in a file."""
    scope = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    for part in name.split("."):
        inside = [node for node in scope.body if part in names(node)]
        assert inside, f"{file} has no {name}"
        scope = inside[-1]
    return scope


def names(node):
    """Names that a statement defines."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [target.id for target in targets if isinstance(target, ast.Name)]
    return [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_names_of_the_pages_exist(page):
    text = page.read_text(encoding="utf-8")
    assert [path for path in re.findall(r"`([\w./]+/[\w.]+\.py)\b", text) if not (ROOT / path).exists()] == []
    for file, name in STOP.findall(text):
        definition(file, name)


def called(code, names):
    """(file, name of the function) of every call into the project while the code runs."""
    found = []

    def note(frame, event, _):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(ROOT)):
            found.append((code.co_filename[len(str(ROOT)) + 1 :], code.co_name))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        exec(code, names)
    finally:
        sys.setprofile(before)
    return found


def as_called(file, name):
    """What a stop is in a list of calls; None for what is no function."""
    found = definition(file, name)
    if isinstance(found, ast.ClassDef):
        return (file, "__init__") if any("__init__" in names(node) for node in found.body) else None
    return (file, name.split(".")[-1]) if isinstance(found, ast.FunctionDef) else None


def forget_all():
    """Clears every cache of the project, so that what a test before this one has asked is computed again."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "odenets"]:
        for value in list(vars(sys.modules[name]).values()):
            if isinstance(value, functools._lru_cache_wrapper):
                value.cache_clear()


def test_the_ways_go_where_the_page_says():
    torch.manual_seed(0)
    space = {}
    for code, text in BLOCK.findall(TEXT):
        forget_all()
        calls = iter(called(code, space))
        stops = [as_called(*stop) for stop in STOP.findall(text)]
        assert len(stops) >= 10
        missed = [stop for stop in stops if stop is not None and stop not in calls]
        assert missed == [], "not called after the stop before it"
