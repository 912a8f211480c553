"""A module with documentation."""


def area(width: float, height: float = 1.0) -> float:
    """The area of a rectangle.

    :param width: in metres
    """
    return width * height


class Shape:
    """Something that can be drawn."""

    def draw(self, scale=1):
        """Draws it."""
