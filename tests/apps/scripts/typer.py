"""Commands from annotations; help by rich."""
import enum

import typer
from typer.testing import CliRunner


class Colour(enum.StrEnum):
    red = "red"
    blue = "blue"


app = typer.Typer()


@app.command()
def paint(what: str, colour: Colour = Colour.red, coats: int = typer.Option(1, min=1)):
    """Paints a thing."""
    typer.echo(f"{what} {colour} {coats}")


runner = CliRunner()
for arguments in (["wall", "--colour", "blue"], ["--help"], ["wall", "--coats", "0"]):
    done = runner.invoke(app, arguments, prog_name="paint")
    print(done.exit_code, done.output)
