"""Orbits of the logistic map: something to calculate."""


def step(rate, x):
    """The next point."""
    return rate * x * (1 - x)


def orbit(rate, x, length):
    """The points from x on."""
    points = [x]
    for _ in range(length):
        points.append(step(rate, points[-1]))
    return points
