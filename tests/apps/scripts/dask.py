"""Graphs on threads and on processes."""
import dask
import dask.array as da
import dask.bag as db


@dask.delayed
def add(a, b):
    return a + b


if __name__ == "__main__":
    print(add(add(1, 2), 3).compute())
    print(da.arange(1000, chunks=100).sum().compute(scheduler="threads"))
    print(db.from_sequence(range(20), npartitions=2).map(lambda n: n * n).sum().compute(scheduler="processes"))
