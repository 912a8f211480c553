"""Packed code that calls the program's own module, which is written in Rust."""

import native
import orbits


def of(rate, x, length):
    """The mean of an orbit."""
    return native.mean(orbits.orbit(rate, x, length))
