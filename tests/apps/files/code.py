import json
from typing import Iterable


def total(numbers: Iterable[int]) -> int:
    return sum(numbers)


text: str = total([1, 2])
print(json.dumps({  "a":text}))
