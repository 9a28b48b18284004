"""User functions: found, called batch by batch, their results held to the declared schema. The same on every engine."""

from __future__ import annotations

import importlib
import inspect
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import mlplatform
from mlplatform.engines.modules import ShadowedModuleError, import_beside
from mlplatform.errors import PlatformError, UserCodeError, did_you_mean, repr_name
from mlplatform.plan.nodes import CheckedPlan, Function, upstream
from mlplatform.types import from_arrow, to_arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

Batches = Iterator["pa.RecordBatch"]

# Folders whose lines are not the user's; a user's own folder may well be named like one of them.
_PACKAGE, _IMPORTLIB = (str(Path(file).parent) + os.sep for file in (mlplatform.__file__, importlib.__file__))


def load_function(node: Function) -> Callable[..., Any]:  # Any: the user's own signature
    """The function or class that a step names; its module is looked for in the spec's folder first.

    Raises: UserCodeError E_FUNCTION.
    """
    module_name, _, attribute = str(node.function).partition(":")
    module = _import(module_name, node)
    found = getattr(module, attribute, None)
    if found is None:
        raise UserCodeError(
            "E_FUNCTION",
            f"module {repr_name(module_name)} has no {repr_name(attribute)}",
            at=node.function.at,
            hint=did_you_mean(attribute, vars(module)),
        )
    if not callable(found) or (inspect.isclass(found) and not callable(getattr(found, "process", None))):
        raise UserCodeError(
            "E_FUNCTION",
            f"{repr_name(str(node.function))} is neither a function nor a class with `process`",
            at=node.function.at,
        )
    return found  # type: ignore[no-any-return]  # a user's object


def load_functions(plan: CheckedPlan, names: Sequence[str]) -> dict[str, Callable[..., Any]]:  # Any: as above
    """The functions that these nodes need, by step: found before any row is read or any service is started.

    Raises: UserCodeError E_FUNCTION.
    """
    nodes = (plan.nodes[name] for name in upstream(plan, list(names)))
    return {node.name: load_function(node) for node in nodes if isinstance(node, Function)}


def _import(name: str, node: Function) -> ModuleType:
    try:
        return import_beside(name, node.folder)
    except (Exception, SystemExit) as error:  # boundary: the user's module
        shadowed = isinstance(error, ShadowedModuleError)
        why = str(error) if shadowed else f"{type(error).__name__}: {error}"
        hint = "give the file another name" if shadowed else "put it beside the spec, or install it"
        raise UserCodeError("E_FUNCTION", f"module {repr_name(name)} cannot be imported: {why}",
                            at=node.function.at, hint=hint, notes=_user_frames(error)) from error  # fmt: skip


def apply(node: Function, function: Callable[..., Any], batches: Batches) -> Batches:
    """The function's batches, in the declared schema.

    A function gets one RecordBatch and gives one (or several, or none); one whose first parameter is named `batches`
    or is annotated as an iterator gets the stream. A class is made once: `setup` once, then `process` by batch.

    Raises: UserCodeError E_USER_CODE when it raises, or gives other columns or types than declared.
    """
    schema = to_arrow_schema(node.schema)
    with _guarded(node):
        for result in _results(_worker(function), batches):
            yield from _conformed(result, schema, node)


def made(node: Function, function: Callable[..., Any]) -> Callable[..., Any]:  # Any: the user's own signature
    """The function for many calls of `apply`: of a class, the `process` of one object that is set up.

    Raises: UserCodeError E_USER_CODE.
    """
    with _guarded(node):
        return _worker(function)


@contextmanager
def _guarded(node: Function) -> Iterator[None]:
    try:
        yield
    except (PlatformError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # boundary: the user's function, which may also call sys.exit
        why = f"{type(error).__name__}: {error}"
        raise UserCodeError("E_USER_CODE", f"{node.function} raised {why}", at=node.function.at,
                            notes=_user_frames(error)) from error  # fmt: skip


def _worker(function: Callable[..., Any]) -> Callable[..., Any]:  # Any: the user's own signature
    if not inspect.isclass(function):
        return function
    worker: Any = function()  # Any: the user's own class
    if callable(getattr(worker, "setup", None)):
        worker.setup()
    return worker.process  # type: ignore[no-any-return]  # a user's object


def _results(function: Callable[..., Any], batches: Batches) -> Iterator[Any]:  # Any: what the user returns
    if _takes_stream(function):
        yield from function(batches)
        return
    for batch in batches:
        yield function(batch)


def _takes_stream(function: Callable[..., Any]) -> bool:
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        return False
    annotation = str(parameters[0].annotation)
    return parameters[0].name == "batches" or "Iterator" in annotation or "Iterable" in annotation


def _conformed(result: Any, schema: pa.Schema, node: Function) -> Batches:  # Any: what the user returned
    import pyarrow as pa

    if result is None:
        return
    if isinstance(result, pa.Table):
        result = result.to_batches()
    elif isinstance(result, pa.RecordBatch):
        result = [result]
    if not isinstance(result, Iterable):
        raise _wrong(node, f"returned {type(result).__name__}, not a RecordBatch")
    for batch in result:
        if not isinstance(batch, pa.RecordBatch | pa.Table):
            # A frame of pandas is iterable too, and gives the names of its columns.
            odd = batch if isinstance(result, list | tuple | Iterator) else result
            raise _wrong(node, f"returned {type(odd).__name__}, not a RecordBatch")
        for part in batch.to_batches() if isinstance(batch, pa.Table) else [batch]:
            yield _cast(part, schema, node)


def _cast(batch: pa.RecordBatch, schema: pa.Schema, node: Function) -> pa.RecordBatch:
    """The batch with the declared columns in order; only lossless differences of Arrow's encodings are bridged."""
    import pyarrow as pa

    names, wanted = list(batch.schema.names), list(schema.names)
    if sorted(names) != sorted(wanted):
        missing = [name for name in wanted if name not in names]
        extra = [name for name in names if name not in wanted]
        parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"adds {', '.join(extra)}"] * bool(extra)
        raise _wrong(node, f"returned other columns than declared: {'; '.join(parts) or 'a column stands twice'}")
    arrays = []
    for field in schema:
        array = batch.column(names.index(field.name))
        if array.type != field.type:
            array = _bridge(array, field, node)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _bridge(array: pa.Array, field: pa.Field, node: Function) -> pa.Array:
    import pyarrow as pa

    if not (pa.types.is_null(array.type) or _is_same(array.type, field, node)):
        raise _wrong(node, f"returned column {repr_name(field.name)} as {array.type}, declared {_declared(field)}")
    try:
        return array.cast(field.type)
    except pa.ArrowInvalid as error:
        raise _wrong(
            node, f"returned column {repr_name(field.name)} that does not fit {_declared(field)}: {error}"
        ) from error


def _is_same(kind: pa.DataType, field: pa.Field, node: Function) -> bool:
    """Whether Arrow's type is an encoding of the declared one."""
    try:
        return from_arrow(kind) == from_arrow(field.type)
    except PlatformError as error:
        raise _wrong(node, f"returned column {repr_name(field.name)} as {kind}, declared {_declared(field)}") from error


def _declared(field: pa.Field) -> str:
    """The spec's word for a type and, where Arrow has another, that one too."""
    word = str(from_arrow(field.type))
    return word if word == str(field.type) else f"{word} (in Arrow: {field.type})"


def _wrong(node: Function, what: str) -> UserCodeError:
    return UserCodeError(
        "E_USER_CODE",
        f"{node.function} {what}",
        at=node.function.at,
        notes=[f"declared by step {repr_name(node.name)}: {node.schema}"],
    )


def _user_frames(error: BaseException) -> list[str]:
    """The lines of the user's code on the way to an error, innermost last."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith((_PACKAGE, _IMPORTLIB, "<frozen"))]
    return [f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}" for frame in theirs[-3:]]
