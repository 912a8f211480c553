"""A function compiled to machine code, with numba's cache on disk."""
from numba import njit


@njit(cache=True)
def total(n):
    result = 0
    for each in range(n):
        result += each * each
    return result


print(total(1000), bool(total.stats.cache_path))
