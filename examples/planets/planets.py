"""Planets of the sun, by what they weigh."""

# /// script
# requires-python = ">=3.11"
# dependencies = ["click==8.1.8"]
# ///

import click

# In earths.
MASSES = {"Mercury": 0.055, "Venus": 0.815, "Earth": 1.0, "Mars": 0.107, "Jupiter": 317.8, "Saturn": 95.2, "Uranus": 14.5, "Neptune": 17.1}


@click.command()
@click.option("--heavier", type=float, default=0.0, help="Than so many earths.")
def main(heavier):
    for name, mass in sorted(MASSES.items(), key=lambda planet: -planet[1]):
        if mass > heavier:
            click.echo(f"{name:8} {mass:8.3f}")


if __name__ == "__main__":
    main(prog_name="planets")
