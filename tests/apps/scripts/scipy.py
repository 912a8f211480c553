"""Integration, optimisation, sparse matrices and statistics."""
import numpy as np
from scipy import integrate, linalg, optimize, signal, sparse, stats
from scipy.sparse.linalg import spsolve

print(round(integrate.quad(np.exp, 0, 1)[0], 10))
print(np.round(optimize.minimize(optimize.rosen, [1.3, 0.7]).x, 4).tolist())
print(np.round(spsolve(sparse.diags([[2.0] * 5, [-1.0] * 4], [0, 1]).tocsc(), np.ones(5)), 6).tolist())
print(round(stats.norm.cdf(1.96), 6), np.round(signal.butter(2, 0.3)[0], 6).tolist())
print(np.round(linalg.svdvals(np.arange(9.0).reshape(3, 3)), 6).tolist())
