"""The rules that keep four packages apart, read off the source."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from count_structure import Counts, count, product

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "lexlip_kernels": ROOT / "kernels" / "lexlip_kernels",
    "lexlip_infer": ROOT / "lexlip_infer",
    "lexlip_training": ROOT / "training" / "lexlip_training",
    "lexlip_export": ROOT / "export" / "lexlip_export",
}
#: Who may import whom, of our own packages.
ARROWS = {
    "lexlip_kernels": set[str](),
    "lexlip_infer": {"lexlip_kernels"},
    "lexlip_training": {"lexlip_kernels", "lexlip_infer"},
    "lexlip_export": {"lexlip_kernels", "lexlip_infer", "lexlip_training"},
}
#: What the base install brings, by import name: all that the two light packages may import at module level.
BASE = {
    "huggingface_hub",
    "numba",
    "numpy",
    "onnxruntime",
    "PIL",
    "pydantic",
    "rich",
    "safetensors",
    "scipy",
    "tokenizers",
    "typer",
}
#: Kernels of torch tensors: these files import torch and Triton as they open, so only functions may import them.
TORCH_FILES = ("compiled.py", "triton_kernel.py", "triton_backward.py", "autograd.py")
#: Rooms of lexlip_infer, ground floor first: a room imports only rooms that stand before it, and itself.
ROOMS = (
    ("errors",),
    ("files",),
    ("vectors",),
    ("hub", "foreign"),
    ("manifest", "bundle", "vocabulary"),
    ("inputs",),
    ("datasets",),
    ("runtime",),
    ("encoder",),
    ("impacts",),
    ("formats",),
    ("collection",),
    ("pipeline",),
    ("search",),
    ("evaluation",),
    ("explain",),
    ("serve",),
    ("bench",),
    ("cli", "__main__"),
)
#: Advice in messages: a user reads these names, and nothing runs them.
ADVICE = ("python -m lexlip_export.add_openvino_int8 adds it",)


def modules(package: str) -> list[Path]:
    return sorted(PACKAGES[package].rglob("*.py"))


def imports(tree: ast.AST, module_level: bool = False) -> Iterator[str]:
    """Dotted names that a module imports; with `module_level`, only what an import of the module executes."""
    nodes = _executed(tree) if module_level else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""


def named_in_strings(tree: ast.AST) -> Iterator[str]:
    """Our packages and modules that strings name, such as those that `python -m` is given; not in docstrings."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            told = id(node) in prose or node.value in ADVICE
            yield from () if told else re.findall(rf"\b(?:{'|'.join(PACKAGES)})(?:\.\w+)*", node.value)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        is_typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not is_function and not is_typing:
            yield node
            yield from _executed(node)


def parse(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_between_our_packages(package: str) -> None:
    for path in modules(package):
        tree = parse(path)
        ours = {name.split(".")[0] for name in (*imports(tree), *named_in_strings(tree))} & set(PACKAGES)
        assert ours <= ARROWS[package] | {package}, path


@pytest.mark.parametrize("package", ["lexlip_kernels", "lexlip_infer"])
def test_light_packages_import_only_the_base_install_at_module_level(package: str) -> None:
    allowed = BASE | set(sys.stdlib_module_names) | ARROWS[package] | {package}
    for path in modules(package):
        if path.name in TORCH_FILES:
            continue
        foreign = {name.split(".")[0] for name in imports(parse(path), module_level=True)} - allowed
        assert not foreign, path


def test_torch_files_are_imported_only_by_functions() -> None:
    """Opening every other module of the kernels loads neither torch nor Triton."""
    package = PACKAGES["lexlip_kernels"]
    light = [path for path in modules("lexlip_kernels") if path.name not in TORCH_FILES]
    names = [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in light]
    code = f"import importlib, sys; [importlib.import_module(name) for name in {names}]; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "triton"} & set(run.stdout.split())


def test_rooms_import_only_earlier_rooms() -> None:
    floor = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}
    for path in modules("lexlip_infer"):
        room = path.relative_to(PACKAGES["lexlip_infer"]).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        tree = parse(path)
        for name in (*imports(tree), *named_in_strings(tree)):
            if name.startswith("lexlip_infer.") and name.split(".")[1] in floor:
                assert floor[name.split(".")[1]] <= floor[room], f"{path} imports {name}"


def test_a_planted_violation_is_found() -> None:
    tree = ast.parse("def f():\n    import lexlip_export.cli\nclass A:\n    import torch\n")
    assert "lexlip_export.cli" in imports(tree)
    assert list(imports(tree, module_level=True)) == ["torch"]
    hidden = '"""`lexlip_export` is named."""\nrun("python", "-m", "lexlip_export.random_bundle", f"{x} lexlip_infer")'
    assert list(named_in_strings(ast.parse(hidden))) == ["lexlip_export.random_bundle", "lexlip_infer"]


@pytest.mark.parametrize("folder", ["kernels", "export", "training", "tests"])
def test_top_level_folders_are_no_packages(folder: str) -> None:
    """`import kernels` belongs to another project; ours is `lexlip_kernels`."""
    assert not (ROOT / folder / "__init__.py").exists()


def test_no_file_is_too_long_to_read_in_one_sitting() -> None:
    lengths = {path: len(path.read_text().splitlines()) for package in PACKAGES for path in modules(package)}
    lengths |= {path: len(path.read_text().splitlines()) for path in (ROOT / "kernels" / "cpp").rglob("*.?pp")}
    lengths |= {path: len(path.read_text().splitlines()) for path in (ROOT / "benchmarks").rglob("*.py")}
    assert max(lengths.values()) <= 400, max(lengths, key=lambda path: lengths[path])


@pytest.fixture(scope="module")
def counts() -> Counts:
    return product(ROOT)


def test_files_are_ideas_and_no_fragments(counts: Counts) -> None:
    assert 110 <= statistics.median(counts.files) <= 150


def test_imports_are_a_small_part_of_the_code(counts: Counts) -> None:
    assert counts.imports <= 0.13 * counts.code


def test_functions_are_short(counts: Counts) -> None:
    assert statistics.median(counts.functions) <= 10
    long = [
        f"{path}:{node.lineno} {node.name}"
        for package in PACKAGES
        for path in modules(package)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 60
    ]
    assert not long


def test_no_modules_import_each_other(counts: Counts) -> None:
    """Imports inside functions count, those for types alone do not."""
    assert not counts.circles


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("def f():\n    from package.b import g\n")
    (package / "b.py").write_text("import package.c\n")
    (package / "c.py").write_text("from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import package.a\n")
    assert not count(package).circles
    (package / "c.py").write_text("from package import a\n")
    assert count(package).circles == [{"package.a", "package.b", "package.c"}]
