"""Imports go one way: a module imports from its own layer or from those below it, and no circle leads back to it."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from support.processes import ROOT

PACKAGE = ROOT / "tvdenoise"

#: From the top down; a name stands for the module or for the whole folder.
LAYERS = (
    ("__main__",),
    ("commands",),
    ("live",),
    ("batch",),
    ("pictures",),
    ("files", "formats"),
    ("compat",),
    ("api",),
    ("tiling",),
    ("parameters",),
    ("learning",),
    ("solver",),
    ("noise",),
    ("images",),
    ("model",),
    ("options",),
    ("machine", "precision"),
    ("errors",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
#: Third-party packages that only some layers may know.
CONFINED = {
    "typer": {"commands"},
    "rich": {"commands"},
    "PIL": {"files", "formats", "pictures"},
    "imagecodecs": {"files", "formats"},
    "pillow_heif": {"formats"},
    "llvmlite": {"model"},
    "numba": {"model"},
    "matplotlib": {"pictures"},
    "platformdirs": {"model"},
    "skimage": set(),
    "dask": {"batch"},
    "distributed": {"batch"},
    "watchdog": {"batch"},
    "threadpoolctl": {"noise"},
    "starlette": {"live"},
    "uvicorn": {"live"},
    "websockets": {"live"},
}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def _layer(relative: Path) -> str:
    return relative.parts[0].removesuffix(".py")


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("relative", MODULES, ids=str)
def test_a_module_imports_only_downwards(relative):
    layer = _layer(relative)
    if layer == "__init__":
        pytest.skip("the package offers names of all layers")
    for name in _imported(PACKAGE / relative):
        top, _, rest = name.partition(".")
        if top == "tvdenoise" and rest and rest.split(".")[0] in RANK:
            other = rest.split(".")[0]
            assert RANK[other] >= RANK[layer], f"{relative} imports {name}"
            if layer in ("files", "formats"):
                assert other in ("files", "formats", "options", "machine", "precision", "errors"), (
                    "files know nothing of denoising"
                )
        if top in CONFINED:
            assert layer in CONFINED[top], f"{relative} imports {name}"


def test_every_module_has_a_layer():
    assert {_layer(relative) for relative in MODULES} - {"__init__"} <= set(RANK)


def _at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What stands outside functions, below ``if TYPE_CHECKING`` too."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _at_import(child)


def _packages_of(module: str) -> list[str]:
    """The packages around a module, which are imported before it."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


@pytest.mark.slow
def test_no_modules_import_each_other_in_a_circle():
    """Types count: modules that need each other's types are one thing."""
    modules = {
        ".".join(("tvdenoise", *path.with_suffix("").parts)).removesuffix(".__init__"): PACKAGE / path
        for path in MODULES
        if path != Path("__init__.py")  # which imports what it offers when that is asked for
    }
    imports: dict[str, set[str]] = {}
    for name, path in modules.items():
        found = set()
        for node in _at_import(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                full = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= full & modules.keys() or {str(node.module)}
        found |= {
            package for other in found for package in _packages_of(other) if package not in _packages_of(name)
        }
        imports[name] = (found & modules.keys()) - {name}
    TopologicalSorter(imports).prepare()  # raises an error that shows the circle


def test_no_two_public_classes_share_a_name():
    homes: dict[str, list[Path]] = {}
    for path in MODULES:
        for node in ast.parse((PACKAGE / path).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(path)
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}
