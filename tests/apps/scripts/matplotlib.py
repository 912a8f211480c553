"""A figure as PNG and SVG with the Agg backend: fonts and style sheets are package data."""
import hashlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.image import imread

figure, axes = plt.subplots(figsize=(3, 2), dpi=80)
axes.plot([1, 2, 3], [2, 3, 5], label=r"$\alpha^2$")
axes.set_title("pyox")
axes.legend()
figure.savefig("figure.png")
figure.savefig("figure.pdf", metadata={"CreationDate": None})
print(imread("figure.png").shape, hashlib.sha256(imread("figure.png").tobytes()).hexdigest()[:16])
print(open("figure.pdf", "rb").read(8), "ggplot" in plt.style.available)
