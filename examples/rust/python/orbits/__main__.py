from . import orbit

print(*(f"{x:.3f}" for x in orbit(3.9, 0.5, 4)))
