"""What a folder of sentence-transformers is made of: one way for all texts, or two, for queries and documents.

The library imports the classes that `modules.json` and `router_config.json` name. Here a name is compared with what is
known, and nothing is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from lexlip_infer.files import read_json
from lexlip_kernels.errors import BundleError

STATIC = "SparseStaticEmbedding"


class Module(NamedTuple):
    """A module: the last part of its class's name, and the folder that it was saved in."""

    kind: str
    folder: Path


class Modules(NamedTuple):
    """The modules that texts go through.

    Attributes:
        documents: of documents, and of texts of which nothing is said.
        queries: of queries; None where they are no other than those of documents.
    """

    documents: list[Module]
    queries: list[Module] | None = None

    def __str__(self) -> str:
        ways = [self.documents] if self.queries is None else [self.queries, self.documents]
        return " and ".join(", ".join(module.kind for module in way) for way in ways)


def read_modules(folder: Path) -> Modules | None:
    """The modules of a folder; None where it has no `modules.json`, and holds one model of transformers.

    Raises:
        BundleError: a file is damaged, names a folder outside this one, or routes texts in other ways.
    """
    path = folder / "modules.json"
    if not path.exists():
        return None
    try:
        listed = [_module(module["type"], folder, module["path"]) for module in _json(path)]
    except (TypeError, KeyError, AttributeError):
        raise BundleError(f"{path}: not sentence-transformers' list of modules") from None
    if [module.kind for module in listed] in (["Router"], ["Asym"]):
        return _routes(listed[0].folder)
    return Modules(listed)


def _routes(folder: Path) -> Modules:
    path = next((p for p in (folder / "router_config.json", folder / "config.json") if p.exists()), None)
    if path is None:
        raise BundleError(f"{folder / 'router_config.json'}: missing, so nobody knows what the Router leads to")
    try:
        content = _json(path)
        types, settings = content["types"], content["parameters"]
        ways = {
            str(task): [_module(types[name], folder, name) for name in names]
            for task, names in content["structure"].items()
        }
        default, mappings = settings.get("default_route"), settings.get("route_mappings")
    except (TypeError, KeyError, AttributeError):
        raise BundleError(f"{path}: not the routes of sentence-transformers' Router") from None
    if set(ways) != {"query", "document"} or mappings:
        given = ", ".join(sorted(ways)) + (" by mappings" if mappings else "")
        raise BundleError(f"{path}: routes are {given}; a bundle can only have one for query and one for document")
    if default not in (None, "document"):
        raise BundleError(f"{path}: default_route is {default!r}; a bundle can only have 'document'")
    return Modules(ways["document"], ways["query"])


def _json(path: Path) -> Any:
    try:
        return read_json(path, refuse=lambda reason: BundleError(f"{path}: {reason}"))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from None


def _module(kind: object, folder: Path, name: object) -> Module:
    if not isinstance(kind, str) or not isinstance(name, str):
        raise TypeError
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise BundleError(f"{folder}: a module is in {name!r}, outside the folder; do not use what you do not trust")
    return Module(kind.rsplit(".", 1)[-1], folder / name)
