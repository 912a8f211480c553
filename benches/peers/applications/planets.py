# /// script
# dependencies = ["rich==15.0.0"]
# ///
from rich.console import Console
from rich.table import Table

table = Table("planet", "earths")
for planet, earths in (("Jupiter", 317.8), ("Saturn", 95.2), ("Earth", 1.0)):
    table.add_row(planet, str(earths))
Console().print(table)
