"""The connectors at hand, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from connectors.base import Connector
from mlplatform.errors import PlanError, Span, did_you_mean, listed, repr_name

GROUP = "mlplatform.connectors"


class Connectors(Mapping[str, Connector]):
    """Connectors by name, each loaded when first asked for; a broken one fails then, and only then."""

    def __init__(self, loaders: Mapping[str, Callable[[], Connector]]) -> None:
        self._loaders = dict(loaders)
        self._loaded: dict[str, Connector] = {}

    def __getitem__(self, name: str) -> Connector:
        """Raises: PlanError E_CONNECTOR_MISSING when there is none of that name, or it cannot be loaded."""
        if name not in self._loaders:
            raise missing_connector(name, self, at=None)
        if name not in self._loaded:
            self._loaded[name] = self._loaders[name]()
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._loaders

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaders)

    def __len__(self) -> int:
        return len(self._loaders)


def connectors() -> Connectors:
    """The built-in connectors and those that installed packages offer as entry points of `mlplatform.connectors`.

    Built-in names cannot be taken over by another package.
    """
    offered = {point.name: _loader(point) for point in entry_points(group=GROUP)}
    return Connectors({**offered, "files": _files, "delta": _delta})


def missing_connector(name: str, known: Mapping[str, Connector], *, at: Span | None) -> PlanError:
    """The error for a connector that is not there, with the near names."""
    return PlanError(
        "E_CONNECTOR_MISSING",
        f"connector {repr_name(name)} is not installed",
        at=at,
        hint=did_you_mean(name, known) or "install the package that offers it",
        notes=[f"connectors: {listed(known)}"],
    )


def _files() -> Connector:
    from connectors.files import FilesConnector

    return FilesConnector()


def _delta() -> Connector:
    from connectors.delta import DeltaConnector

    return DeltaConnector()


def _loader(point: EntryPoint) -> Callable[[], Connector]:
    def load() -> Connector:
        try:
            made: Connector = point.load()()
        except Exception as error:
            raise PlanError(
                "E_CONNECTOR_MISSING",
                f"connector {repr_name(point.name)} of {_package(point)} cannot be loaded: {error}",
                hint="install what it needs, or remove the package",
            ) from error
        return made

    return load


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


class OptionClasses(Mapping[str, type]):
    """Connector name → its `Options` class; a connector is loaded when its class is asked for."""

    def __init__(self, known: Mapping[str, Connector]) -> None:
        self._known = known

    def __getitem__(self, name: str) -> type:
        return self._known[name].Options

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
