"""Kernels: functions that Numba compiles when their module is imported, and keeps on disk.

`@kernel(signature)` compiles a function for one signature at once; `@helper` marks one that kernels
call, of the same module or of another, and that is compiled into each of them. To mypy a function
is what it says of itself, decorated or not.

    @helper
    def square(x: float) -> float:
        return x * x

    @kernel("float64(float64[::1])")
    def sum_of_squares(values: NDArray[np.float64]) -> float:
        total = 0.0
        for value in values:
            total += square(value)
        return total

Numba's own cache looks at a kernel's own file only, so that an edit of a helper or a constant in
another module goes unnoticed. Here each module's kernels lie in a folder that is named by

- the module,
- a digest of what compiles: Python, Numba, llvmlite, NumPy and the processor,
- a digest of the sources of the module and of all that it imports of its package, directly or not.

A folder is never written for other sources than those of its name, so a process that was killed
while it wrote, or that runs an older version beside a newer one, cannot leave code there that is
not theirs. Kernels of others, by `numba.njit(cache=True)`, stay where Numba puts them.

The folders lie where NUMBA_CACHE_DIR says, else in `__pycache__` of the package, else in the user's
cache folder: the first that can be written to or that has the kernels already. Where nobody else
puts kernels, beside the package, those of earlier sources are removed at once; elsewhere another
version of the program may use them, and they are removed when none has for KEPT_DAYS.
"""

import hashlib
import importlib.util
import logging
import os
import pickle
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar, overload

import llvmlite
import numba
import numpy as np
from llvmlite import binding
from numba.core.caching import CompileResultCacheImpl, FunctionCache

KEPT_DAYS = 30

_P = ParamSpec("_P")
_R = TypeVar("_R")
_DAY_S = 86_400
_HERE = __name__.partition(".")[0]
_BEGAN_S = time.time()
_IMPORTS = re.compile(
    rb"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]+))",
    re.MULTILINE,
)
_NAME = re.compile(rb"(?:^|[,(])\s*([\w.]+)", re.MULTILINE)
_NO_IMPORT = re.compile(rb"#[^\n]*|\\\n")  # comments, and ends of lines that do not count
_config: Any = numba.config
_log = logging.getLogger(__name__)


def kernel(signature: Any, **options: Any) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Compile the function for this signature now, or take it from the disk.

    `signature` is as Numba has it, a string or types; `options` are those of `numba.njit`.
    """

    def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
        dispatcher: Any = numba.njit(**options)(function)
        if not _config.DISABLE_JIT:
            folder = folder_of(function.__module__)
            if folder is not None:
                dispatcher._cache = _Cache(function, folder)
            began_s = time.monotonic()
            dispatcher.compile(signature)
            dispatcher.disable_compile()
            _compiled.note(function.__module__, dispatcher, time.monotonic() - began_s)
        found: Callable[_P, _R] = dispatcher
        return found

    return compiled


class _Compiled:
    """What has been compiled in this process and not been found on disk: a first start is silent
    for a minute otherwise, and nobody knows why."""

    EVERY_S = 10.0

    def __init__(self) -> None:
        self._count = 0
        self._took_s = 0.0
        self._told_s = 0.0

    def note(self, module: str, dispatcher: Any, took_s: float) -> None:
        if not sum(dispatcher.stats.cache_misses.values()):
            return
        self._count += 1
        self._took_s += took_s
        if self._took_s - self._told_s >= self.EVERY_S:
            self._told_s = self._took_s
            _log.warning(
                "compiling kernels, once for this machine and version: %d of at most %d in %.0f s, "
                "now those of %s",
                self._count,
                _kernels_in(module.partition(".")[0]),
                self._took_s,
                module,
            )


_compiled = _Compiled()


@cache
def _kernels_in(package: str) -> int:
    """How many kernels the sources of a package have."""
    root = _root_of(package)
    folders = [] if root is None else [Path(found[0]) for found in os.walk(root, followlinks=True)]
    texts = (file.read_bytes() for folder in folders for file in folder.glob("*.py"))
    return sum(text.count(b"\n@kernel(") for text in texts)


@overload
def helper(function: Callable[_P, _R], /) -> Callable[_P, _R]: ...
@overload
def helper(**options: Any) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]: ...
def helper(function: Any = None, /, **options: Any) -> Any:
    """A function that kernels call. It is compiled into each of them and not kept by itself.

    Called from Python it is compiled for what it is given, in every process anew.
    """
    return numba.njit(**options) if function is None else numba.njit(function)


def folder_of(module: str) -> Path | None:
    """Where the module's kernels lie; None where they can be kept nowhere."""
    name = _name_of(module)
    if name is None:
        return None
    return _opened(name)


class _Name(NamedTuple):
    """Of a folder."""

    module: str
    compiler: str
    sources: str

    def __str__(self) -> str:
        return "-".join(self)


class _KernelsPath(NamedTuple):
    """A folder of such folders."""

    path: Path
    is_ours: bool  # no other version of the program keeps kernels there


def _places(package: str) -> list[_KernelsPath]:
    places = []
    if _config.CACHE_DIR:
        places.append(_KernelsPath(Path(_config.CACHE_DIR) / "streamrec-kernels", False))
    root = _root_of(package)
    if root is not None:
        places.append(_KernelsPath(root / "__pycache__" / "kernels", True))
    try:
        cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return places  # a user without a home
    return [*places, _KernelsPath(cached / "streamrec" / "kernels", False)]


@cache
def _opened(name: _Name) -> Path | None:
    for place in _places(name.module.partition(".")[0]):
        folder = place.path / str(name)
        if _can_write(place.path):
            _remove_old(place, name)
            _note_use(folder)
            return folder
        if folder.is_dir():
            return folder
    _log.warning(
        "kernels of %s are compiled at every start: no folder to keep them in can be written to; "
        "set NUMBA_CACHE_DIR to one",
        name.module,
    )
    return None


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _note_use(folder: Path) -> None:
    try:
        if time.time() - folder.stat().st_mtime > _DAY_S:
            os.utime(folder)
    except OSError:
        pass  # it is made with the first kernel, or another process has just removed it


def _remove_old(place: _KernelsPath, name: _Name) -> None:
    """Other processes may read, write and remove the same: whatever is gone already is well."""
    try:
        found = list(place.path.iterdir())
    except OSError:
        return
    for folder in found:
        parts = folder.name.rsplit("-", 2)
        if len(parts) != len(_Name._fields) or folder.name == str(name):
            continue
        other = _Name(*parts)
        outdated = (
            place.is_ours
            and other.compiler == name.compiler
            and other.module.partition(".")[0] == name.module.partition(".")[0]
            and (other.module == name.module or _file_of(other.module) is None)
        )
        if outdated or _unused_days(folder) > KEPT_DAYS:
            shutil.rmtree(folder, ignore_errors=True)


def _unused_days(folder: Path) -> float:
    try:
        return (time.time() - folder.stat().st_mtime) / _DAY_S
    except OSError:
        return 0.0


@cache
def _name_of(module: str) -> _Name | None:
    """None without a file, and when one has changed since: what is imported is not what it says."""
    digest = hashlib.sha256()
    sources = _sources_of(module)
    if module not in sources:
        return None
    for each in sorted(sources):
        source = _read(sources[each])
        if _BEGAN_S < source.changed_s <= time.time():  # a later time is a clock that goes wrong
            _log.debug("kernels of %s are not kept: %s has just changed", module, sources[each])
            return None
        digest.update(f"{each} ".encode() + source.digest)
    return _Name(module, _compiler(), digest.hexdigest()[:20])


@cache
def _compiler() -> str:
    parts = (
        platform.python_implementation(),
        sys.version,
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        platform.machine(),
        sys.platform,
        _config.CPU_NAME or binding.get_host_cpu_name(),
        _config.CPU_FEATURES or binding.get_host_cpu_features().flatten(),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]


def _sources_of(module: str) -> dict[str, Path]:
    """Files, by module, of the module and of all that it imports of its package and of ours."""
    packages = {module.partition(".")[0], _HERE}
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or name.partition(".")[0] not in packages:
            continue
        file = _file_of(name)
        if file is None:
            continue  # a name within a module
        found[name] = file
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for imported, names in _read(file).imports:
            if imported.startswith("."):
                if not package:
                    continue
                imported = importlib.util.resolve_name(imported, package)
            waiting.append(imported)
            waiting += [f"{imported}.{each}" for each in names]
    return found


class _Source(NamedTuple):
    digest: bytes
    changed_s: float
    imports: tuple[tuple[str, tuple[str, ...]], ...]  # modules, and the names taken from each


@cache
def _read(file: Path) -> _Source:
    changed_s = file.stat().st_mtime
    text = file.read_bytes()
    imports: list[tuple[str, tuple[str, ...]]] = []
    for module, names, modules in _IMPORTS.findall(_NO_IMPORT.sub(b"", text)):
        if module:
            taken = tuple(name.decode() for name in _NAME.findall(names))
            imports.append((module.decode(), taken))
        else:
            imports += [(name.decode(), ()) for name in _NAME.findall(modules)]
    return _Source(hashlib.sha256(text).digest(), changed_s, tuple(imports))


@cache
def _file_of(module: str) -> Path | None:
    package, _, rest = module.partition(".")
    loaded = sys.modules.get(package)
    if not rest and loaded is not None and getattr(loaded, "__file__", None) is not None:
        return Path(str(loaded.__file__))
    root = _root_of(package)
    if root is None:
        return None
    stem = root.joinpath(*rest.split("."))
    for file in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
        if file.is_file():
            return file
    return None


@cache
def _root_of(package: str) -> Path | None:
    """The folder of a package that is imported; of a single module, the folder that it lies in."""
    loaded = sys.modules.get(package)
    paths = list(getattr(loaded, "__path__", []))
    if paths:
        return Path(paths[0])
    file = getattr(loaded, "__file__", None)
    return None if file is None else Path(file).parent


class _Folder:
    """What Numba's cache asks for where a function's code lies."""

    def __init__(self, path: Path, file: str) -> None:
        self._path = path
        self._py_file = file  # Numba's warnings name it

    def ensure_cache_path(self) -> None:
        self._path.mkdir(parents=True, exist_ok=True)

    def get_cache_path(self) -> str:
        return str(self._path)

    def get_source_stamp(self) -> str:
        return self._path.name


class _CacheImpl(CompileResultCacheImpl):
    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        # Not the base's: that looks for a place of its own choice.
        code = function.__code__
        self._lineno = code.co_firstlineno
        self._locator = _Folder(folder, code.co_filename)
        self._filename_base = function.__qualname__


class _Cache(FunctionCache):
    """One function's code on disk. What cannot be read is compiled, what cannot be written is not
    kept: another process may be removing it, the disk may be full."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self._impl_class: Any = partial(_CacheImpl, folder=folder)
        super().__init__(function)  # type: ignore[no-untyped-call]  # numba has types for few

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]  # as above
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            _log.warning("kernel %s is compiled anew: %s", self._name, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]  # as above
        except OSError as error:
            _log.warning("kernel %s is not kept: %s", self._name, error)
