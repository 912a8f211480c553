"""Linear algebra, transforms and random numbers: BLAS and LAPACK from `numpy.libs`."""
import numpy as np

rng = np.random.default_rng(7)
a = rng.standard_normal((60, 60))
b = a @ a.T
print(np.round(np.linalg.eigvalsh(b)[-3:], 6).tolist())
print(np.round(np.linalg.norm(np.linalg.inv(b) @ b - np.eye(60)), 6) < 1e-4)
print(np.round(np.abs(np.fft.fft(np.arange(16.0)))[:4], 6).tolist())
print(np.sort(rng.integers(0, 100, 10)).tolist(), np.__version__)
