"""Rows for training: a map-style dataset over keys, and a function that makes batches. PyTorch loads when it is used.

dataset = Rows(Client("http://host:8080"), "features.drives", keys, columns=["speed", "decel"], version=41)
loader = torch.utils.data.DataLoader(dataset, batch_size=512, collate_fn=collate, num_workers=4)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlplatform.errors import UsageError
from serving.client.requests import Key, Row

if TYPE_CHECKING:
    from serving.client.client import Client


class Rows:
    """The rows of some keys, by position; of one version from the first to the last epoch.

    A loader that knows `__getitems__` asks for a whole batch in one request. Travels to the loader's worker
    processes, where the client opens its own connections.
    """

    def __init__(
        self, client: Client, table: str, keys: Sequence[Key], *, columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> None:  # fmt: skip
        """Without `version`, the table's current one at this moment is kept. Raises: ServingError."""
        self._client, self._table, self._keys = client, table, keys
        self._columns = list(columns) if columns is not None else None
        self.version = client.table(table).version if version is None else version

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, place: int) -> Row:
        """One row. Raises: NotFound."""
        key = self._keys[place]
        return self._client.get(self._table, key, columns=self._columns, version=self.version).value

    def __getitems__(self, places: Sequence[int]) -> list[Row]:
        """Rows of a batch, in order. Raises: NotFound: where one has no row."""
        keys = [self._keys[place] for place in places]
        answer = self._client.get_many(
            self._table, keys, columns=self._columns, version=self.version, missing="error", format="arrow"
        )
        rows: list[Row] = answer.value.to_pylist()
        return rows


def collate(rows: Sequence[Row]) -> dict[str, Any]:
    """Columns of a batch: numbers and booleans as tensors (null is NaN, which makes floats), others as lists.

    Raises: UsageError: where PyTorch is not installed.
    """
    tensor = _tensor()
    made: dict[str, Any] = {}  # Any: a tensor or a list
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        if all(value is None or isinstance(value, int | float) for value in values):
            given = [float("nan") if value is None else value for value in values]
            made[name] = tensor(given)
        else:
            made[name] = values
    return made


def _tensor() -> Any:  # Any: torch.tensor
    try:
        import torch  # type: ignore[import-not-found, unused-ignore]  # none of our dependencies
    except ImportError as error:
        raise UsageError("E_EXTRA_MISSING", "PyTorch is not installed", hint="pip install torch") from error
    return torch.tensor
