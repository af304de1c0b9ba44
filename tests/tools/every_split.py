"""All ways to cut bytes: the same bytes must give the same story, however the network cut them."""

from collections.abc import Iterator
from itertools import combinations, pairwise


def every_split(data: bytes, cuts: int = 1) -> Iterator[list[bytes]]:
    """Yield `data` whole, byte by byte, and cut in every way in up to `cuts` places."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for count in range(1, cuts + 1):
        for places in combinations(range(1, len(data)), count):
            edges = [0, *places, len(data)]
            yield [data[a:b] for a, b in pairwise(edges)]
