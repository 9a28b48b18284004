"""Which keys a load asks for: their popularity, as a seeded choice among `0 … count - 1`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

Popularity = Literal["zipf", "uniform", "eighty_twenty", "one_hot", "scan", "absent"]
ZIPF_EXPONENT = 0.99
_FNV_OFFSET, _FNV_PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Keys:
    """A popularity over `count` keys.

    zipf: rank r is drawn in proportion to r^-0.99, and ranks are scattered over the keys, as YCSB does.
    eighty_twenty: a fifth of the keys gets four fifths of the draws. one_hot: one key gets `share`, the rest is zipf.
    scan: `share` of the draws walk through all keys in order, the rest is zipf.
    absent: `share` of the draws lie beyond `count`, where no row is; the rest is zipf.
    """

    count: int
    popularity: Popularity = "zipf"
    share: float = 0.5

    def draw(self, wanted: int, seed: int) -> list[int]:
        """`wanted` keys, the same for the same seed; absent ones are `count` and above."""
        rng = random.Random(seed)
        if self.popularity == "uniform":
            return [rng.randrange(self.count) for _ in range(wanted)]
        if self.popularity == "eighty_twenty":
            return self._eighty_twenty(wanted, rng)
        usual = self._zipf(wanted, rng)
        match self.popularity:
            case "zipf":
                drawn = usual
            case "one_hot":
                drawn = self._mixed(rng, usual, [scatter(1, self.count)] * wanted)
            case "scan":
                start = rng.randrange(self.count)
                drawn = self._mixed(rng, usual, [(start + at) % self.count for at in range(wanted)])
            case "absent":
                drawn = self._mixed(rng, usual, [self.count + rng.randrange(self.count) for _ in range(wanted)])
        return drawn

    def _eighty_twenty(self, wanted: int, rng: random.Random) -> list[int]:
        few = max(self.count // 5, 1)
        ranks = (rng.randrange(few) if rng.random() < 0.8 else rng.randrange(few, self.count) for _ in range(wanted))
        return [scatter(rank, self.count) for rank in ranks]

    def _zipf(self, wanted: int, rng: random.Random) -> list[int]:
        weights = list(accumulate(rank**-ZIPF_EXPONENT for rank in range(1, self.count + 1)))
        return [scatter(rank, self.count) for rank in rng.choices(range(self.count), cum_weights=weights, k=wanted)]

    def _mixed(self, rng: random.Random, usual: Sequence[int], special: Sequence[int]) -> list[int]:
        """`special` with probability `share`, else `usual`; the special ones keep their order."""
        following = iter(special)
        return [next(following) if rng.random() < self.share else key for key in usual]


def scatter(rank: int, count: int) -> int:
    """A key for a rank: FNV-1a of its eight bytes, so that popular keys are no neighbours."""
    value = _FNV_OFFSET
    for byte in rank.to_bytes(8, "little"):
        value = ((value ^ byte) * _FNV_PRIME) & _MASK
    return value % count
