"""Parts of libraries that come with them and that few need: they are imported when somebody asks for them.

A library may import all of itself at once. Its own server, its command line and the half of a driver that blocks take
megabytes of every process, and longer to start.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

LATER = {
    "uvicorn": ("uvicorn.main",),
    "prometheus_client": ("prometheus_client.exposition",),
    "pymongo": (
        "pymongo.change_stream",
        "pymongo.client_session",
        "pymongo.collection",
        "pymongo.command_cursor",
        "pymongo.cursor",
        "pymongo.database",
        "pymongo.synchronous.collection",
        "pymongo.synchronous.mongo_client",
        "pymongo.uri_parser",
    ),
}
"""The modules, by the package that imports them and does nothing with them but hand on their names."""


class _Name:
    """Stands for a name of a module that is not imported yet."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name


class _Absent(ModuleType):
    """Stands for a module while the package that would import it is imported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(self.__name__, name)


class Postponed(MetaPathFinder, Loader):
    """Imports packages without ``later``, modules of theirs by the package. What the package has of them is imported
    when it is asked for, by whoever asks."""

    def __init__(self, later: Mapping[str, Sequence[str]]) -> None:
        self._later = dict(later)
        self._loaders: dict[str, tuple[Loader, Sequence[str]]] = {}

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        later = self._later.pop(fullname, None)
        spec = None if later is None else find_spec(fullname)
        if spec is None or spec.loader is None or later is None:
            return None
        self._loaders[fullname] = spec.loader, later
        spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loaders[spec.name][0].create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        loader, later = self._loaders.pop(name)
        module.__loader__ = loader
        if module.__spec__ is not None:
            module.__spec__.loader = loader
        absent = {part: _Absent(part) for part in later if part not in sys.modules}
        sys.modules.update(absent)
        try:
            loader.exec_module(module)
        finally:
            for part in absent:
                del sys.modules[part]
        _hand_on(module)


def _hand_on(package: ModuleType) -> None:
    """Let ``package`` import what stands for something when it is asked for it."""
    names = {name: value for name, value in vars(package).items() if isinstance(value, (_Name, _Absent))}
    if not names:
        return
    for name in names:
        delattr(package, name)

    def handed_on(name: str) -> Any:
        standing = names.get(name)
        if isinstance(standing, _Name):
            part = import_module(standing.module)
            for other, value in names.items():  # which also may have the name of the module
                if isinstance(value, _Name) and value.module == standing.module:
                    setattr(package, other, getattr(part, value.name))
        elif standing is not None:
            setattr(package, name, import_module(standing.__name__))
        else:
            setattr(package, name, _submodule(package.__name__, name))
        return vars(package)[name]

    package.__getattr__ = handed_on  # type: ignore[method-assign]  # PEP 562


def _submodule(package: str, name: str) -> ModuleType:
    """The module that would have been imported along with one that is absent."""
    whole = f"{package}.{name}"
    if name.startswith("__") or find_spec(whole) is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return import_module(whole)


_NEVER: Any = None


def postpone() -> None:
    """Do so with the libraries that are not imported yet."""
    # uvicorn reloads no code here, and what tells it of changed files takes a megabyte where functions are installed.
    sys.modules.setdefault("uvicorn.supervisors.watchfilesreload", _NEVER)
    sys.meta_path.insert(0, Postponed({name: parts for name, parts in LATER.items() if name not in sys.modules}))
