"""How a checkout is built, in numbers: lines, files, imports, lengths of functions, circles, public names.

    python benchmarks/count_structure.py CHECKOUT [AFTER]

With two checkouts each cell is "before -> after". Rows are the packages, product (their sum), benchmarks, and both
together. Imports are a share of the lines that are neither blank, comment nor docstring; an import over several lines
counts as so many. A circle is a set of modules that import each other, inside functions too, but not for types alone.
Nothing of the checkouts is imported. The last line is JSON.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import statistics
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FOLDERS = {
    "lexlip_infer": "lexlip_infer",
    "kernels": "kernels/lexlip_kernels",
    "kernels/cpp": "kernels/cpp",
    "training": "training/lexlip_training",
    "export": "export/lexlip_export",
    "benchmarks": "benchmarks",
}
LONG = 60
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


@dataclass
class Counts:
    """Of some files.

    Attributes:
        files: lines of each.
        code: lines of Python that are neither blank, comment nor docstring.
        imports: of these, lines of import statements.
        functions: lines of each, methods and inner ones among them.
        circles: sets of modules that import each other.
    """

    files: list[int] = field(default_factory=list)
    code: int = 0
    imports: int = 0
    functions: list[int] = field(default_factory=list)
    circles: list[set[str]] = field(default_factory=list)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.files + other.files,
            self.code + other.code,
            self.imports + other.imports,
            self.functions + other.functions,
            self.circles + other.circles,
        )

    def figures(self) -> dict[str, float]:
        """A row of the table."""
        return {
            "lines": sum(self.files),
            "files": len(self.files),
            "median file": statistics.median(self.files or [0]),
            "longest file": max(self.files, default=0),
            "imports %": round(100 * self.imports / self.code, 1) if self.code else 0,
            "functions": len(self.functions),
            "median function": statistics.median(self.functions or [0]),
            f"functions > {LONG}": sum(length > LONG for length in self.functions),
            "circles": len(self.circles),
        }


def count(folder: Path) -> Counts:
    """Count Python and C++ files below a folder."""
    counts, arrows = Counts(), dict[str, set[str]]()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".py", ".cpp", ".h", ".hpp", ".inc") or "__pycache__" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        counts.files.append(len(text.splitlines()))
        if path.suffix == ".py":
            tree = ast.parse(text)
            counts.code += len(_code_lines(text, tree))
            counts.imports += sum(
                _length(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
            )
            counts.functions += [
                _length(n) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            arrows[_module(path, folder.parent)] = set(_imported(tree))
    counts.circles = list(circles(arrows))
    return counts


def _length(node: ast.stmt) -> int:
    assert node.end_lineno is not None, "parsed from text"
    return node.end_lineno - node.lineno + 1


def _code_lines(text: str, tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            lines -= set(range(first.lineno, first.lineno + _length(first)))
    return lines


def _module(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.AST) -> Iterator[str]:
    """Modules, and names that may be modules."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield from _imported(node)


def circles(arrows: dict[str, set[str]]) -> Iterator[set[str]]:
    """Modules that reach each other, themselves through others among them."""
    reached = {module: _reached(module, arrows) for module in arrows}
    seen: set[str] = set()
    for module in arrows:
        circle = {other for other in reached[module] if module in reached.get(other, ())}
        if len(circle) > 1 and not circle & seen:
            yield circle
        seen |= circle


def _reached(module: str, arrows: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [module]
    while ahead:
        new = {name for name in arrows[ahead.pop()] if name in arrows} - found
        found |= new
        ahead += new
    return found


def public_names(checkout: Path) -> int:
    """Of `lexlip_infer.__all__`."""
    tree = ast.parse((checkout / "lexlip_infer" / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return len(ast.literal_eval(node.value))
    return 0


def product(checkout: Path) -> Counts:
    """Of the four packages and the C++."""
    return sum((count(checkout / folder) for name, folder in FOLDERS.items() if name != "benchmarks"), Counts())


def table(checkout: Path) -> dict[str, dict[str, float]]:
    """Figures of every package, and sums."""
    counts = {name: count(checkout / folder) for name, folder in FOLDERS.items()}
    sums = product(checkout)
    rows = counts | {"product": sums, "product and benchmarks": sums + counts["benchmarks"]}
    return {name: each.figures() for name, each in rows.items()} | {
        "lexlip_infer.__all__": {"names": public_names(checkout)}
    }


def main() -> None:
    """Count, print."""
    parser = argparse.ArgumentParser(description="Count how one checkout is built, or two side by side.")
    parser.add_argument("checkouts", type=Path, nargs="+", metavar="CHECKOUT")
    tables = [table(checkout) for checkout in parser.parse_args().checkouts[:2]]
    for name in tables[0]:
        cells = (f"{figure} {' -> '.join(f'{each[name][figure]:g}' for each in tables)}" for figure in tables[0][name])
        print(f"{name + ':':24s}", "; ".join(cells))
    print(json.dumps(tables))


if __name__ == "__main__":
    main()
