"""Worker processes by loky, and by multiprocessing."""
from joblib import Parallel, delayed, hash, parallel_config


def square(n):
    return n * n


if __name__ == "__main__":
    print(Parallel(n_jobs=2)(delayed(square)(n) for n in range(8)))
    with parallel_config("multiprocessing"):
        print(Parallel(n_jobs=2)(delayed(square)(n) for n in range(4)))
    print(hash([1, "a"]))
