"""Parts of libraries that come with them and that few need: they are imported when somebody asks for them.

A library may import all of itself at once. Its own server, its command line and the half of a driver that blocks take
megabytes of every process, and longer to start. A package that does more with such a part than hand on its names, as a
new version may, is imported as it is everywhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType
from typing import Any
from weakref import WeakSet

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

WITHOUT = {"uvicorn.supervisors": ("uvicorn.supervisors.watchfilesreload",)}
"""The modules, by the package that does without them where they cannot be imported. That one watches files to read code
again, which nobody wants here, and takes a megabyte where functions are installed."""


class _NeededError(BaseException):
    """A package does more with its parts than hand on their names. No package takes it for an error of its own."""


class _Name:
    """Stands for a name of a module that is not imported yet."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __getattr__(self, name: str) -> Any:  # by who subclasses it, too
        raise _NeededError(f"{self.module}.{self.name}.{name}")


class _Absent(ModuleType):
    """Stands for a module while the package that would import it is imported, and notes in ``standing`` what does."""

    def __init__(self, name: str, standing: WeakSet[Any]) -> None:
        super().__init__(name)
        self._standing = standing
        standing.add(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        standing = _Name(self.__name__, name)
        self._standing.add(standing)
        return standing


class Postponed(MetaPathFinder, Loader):
    """Imports packages without ``later``, modules of theirs by the package. What the package has of them is imported
    when it is asked for, by whoever asks. Packages find that there are none of ``without``."""

    def __init__(self, later: Mapping[str, Sequence[str]], without: Mapping[str, Sequence[str]] | None = None) -> None:
        self._later = {**later, **(without or {})}
        self._without = frozenset(without or ())
        self._loaders: dict[str, tuple[InspectLoader, Sequence[str]]] = {}

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        later = self._later.pop(fullname, None)
        spec = None if later is None else find_spec(fullname)
        if spec is None or not isinstance(spec.loader, InspectLoader) or later is None:
            return None
        self._loaders[fullname] = spec.loader, later
        spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loaders[spec.name][0].create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        loader, later = self._loaders.pop(module.__name__)
        module.__loader__ = loader
        if module.__spec__ is not None:
            module.__spec__.loader = loader
        empty, there = dict(vars(module)), set(sys.modules)
        # Whatever fails may fail for want of what is absent, and is said by the ordinary import if it fails without.
        with suppress(Exception, _NeededError):
            _import_without(later, module, loader, stand_in=module.__name__ not in self._without)
            return
        for name in set(sys.modules) - there:
            if name.startswith(f"{module.__name__}."):
                del sys.modules[name]
        vars(module).clear()
        vars(module).update(empty)
        loader.exec_module(module)


def _import_without(later: Iterable[str], module: ModuleType, loader: InspectLoader, *, stand_in: bool) -> None:
    """Import ``module`` without its parts, for which something is to ``stand_in`` or which it cannot import.

    Raises _NeededError where that is no good: somebody kept what stands for something, a function of the package uses
    a name (which it does not find by :pep:`562`), or the package hands on names in a way of its own.
    """
    standing: WeakSet[Any] = WeakSet()
    absent: dict[str, Any] = {part: None for part in later if part not in sys.modules}
    if stand_in:
        absent.update({part: _Absent(part, standing) for part in absent})
    sys.modules.update(absent)
    try:
        loader.exec_module(module)
    finally:
        for part in absent:
            sys.modules.pop(part, None)
    absent.clear()
    names = _taken_out(module)
    code = loader.get_code(module.__name__)
    used = set() if code is None else names.keys() & _names_within(code)
    if len(standing) or code is None or used or "__getattr__" in vars(module):
        raise _NeededError(module.__name__)
    _hand_on(module, names)


def _taken_out(package: ModuleType) -> dict[str, tuple[str, str]]:
    """The module and the name there, by the name in ``package``, of what stands for something, which is taken out."""
    found = {}
    for name, value in list(vars(package).items()):
        if isinstance(value, (_Name, _Absent)):
            found[name] = (value.module, value.name) if isinstance(value, _Name) else (value.__name__, "")
            delattr(package, name)
    return found


def _names_within(code: CodeType) -> set[str]:
    """The names that the functions and classes of a module use."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return {name for part in inner for name in (*part.co_names, *_names_within(part))}


def _hand_on(package: ModuleType, names: Mapping[str, tuple[str, str]]) -> None:
    """Let ``package`` import what was taken out of it when it is asked for it."""
    if not names:
        return

    def handed_on(name: str) -> Any:
        module, wanted = names.get(name, ("", ""))
        if wanted:
            whole = import_module(module)
            for other, (origin, original) in names.items():  # which also may have the name of the module
                if original and origin == module:
                    setattr(package, other, getattr(whole, original))
        elif module:
            setattr(package, name, import_module(module))
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


def postpone() -> None:
    """Do so with the libraries that are not imported yet."""
    later, without = (
        {name: parts for name, parts in table.items() if name not in sys.modules} for table in (LATER, WITHOUT)
    )
    sys.meta_path.insert(0, Postponed(later, without))
