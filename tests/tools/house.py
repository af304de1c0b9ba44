"""The house as its source text shows it: every file, what it imports, and on which line.

Knows how to read Python without running it; does not know any rule.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""


@frozen
class Source:
    """One file: its dotted module name, where it stands, its text and its syntax tree."""

    module: str
    path: Path
    text: str
    tree: ast.Module

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function and method, nested ones too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def at(self, line: int) -> str:
        """Where a sentence about this file points to."""
        return f"{self.path}:{line}"


@frozen
class Import:
    """One name that a file imports: who, what (dotted, as far as it is a module), and where."""

    source: Source
    target: str
    line: int


def read_sources(root: Path, package: str = "gaproxy") -> list[Source]:
    """Every Python file of `package` under `root`, in order; paths are told relative to `root`."""
    sources = []
    for path in sorted((root / package).rglob("*.py")):
        within = path.relative_to(root)
        parts = within.with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        sources.append(Source(module, within, text, ast.parse(text, str(path))))
    return sources


def read_imports(sources: list[Source]) -> list[Import]:
    """All imports, wherever they stand: at the top, in a function, under TYPE_CHECKING.

    `from a.b import c` is an import of `a.b.c` where that is a file of the house, else of `a.b`. The target of a
    relative import begins with a dot.
    """
    modules = {source.module for source in sources}
    found = []
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Import):
                found += [Import(source, alias.name, node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                stem = "." * node.level + (node.module or "")
                targets = dict.fromkeys(
                    whole if (whole := f"{stem}.{alias.name}") in modules else stem for alias in node.names
                )
                found += [Import(source, target, node.lineno) for target in targets]
    return found
