"""The smallest application."""

print("Hello, world")
