"""What a person is told to type can be typed: no word in it stands for something that the program knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import PROJECT

COMMAND = re.compile(r'"pairvol [^"]*"?')
PLACEHOLDER = re.compile(r"(?<![A-Za-z])[A-Z]{2,}(?![A-Za-z])")
STATES = {"SMPL", "COPY", "PAIR", "PSUS", "PFUL", "PFUS", "PSUE", "SSWS"}


def sources() -> Iterator[Path]:
    for package in ("controller", "hostagent", "nbd_plugin"):
        yield from sorted((PROJECT / package).rglob("*.py"))


def told(tree: ast.Module) -> Iterator[str]:
    """Every text of a module but its docstrings, which are help; what an f-string puts in is told as a space."""
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else " " for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.value


def placeholders(text: str) -> set[str]:
    return {word for command in COMMAND.findall(text) for word in PLACEHOLDER.findall(command)} - STATES


def test_commands_in_hints_can_be_typed_as_they_are() -> None:
    found, commands = [], 0
    for path in sources():
        for text in told(ast.parse(path.read_text())):
            commands += len(COMMAND.findall(text))
            found += [f"{path.relative_to(PROJECT)}: {text}" for _ in placeholders(text)]
    assert not found
    assert commands > 100, "the hints are not found any more"


def test_a_word_that_stands_for_a_name_is_found() -> None:
    assert placeholders('Start it: "pairvol journal start GROUP".') == {"GROUP"}
    assert placeholders('Wait with "pairvol pair wait db --state PAIR".') == set()
