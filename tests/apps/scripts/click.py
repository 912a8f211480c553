"""A group of commands, with completion and an error."""
import click
from click.testing import CliRunner


@click.group()
@click.version_option("1.0", prog_name="tool")
def tool():
    """A tool."""


@tool.command()
@click.option("--count", default=1, show_default=True)
@click.argument("name")
def greet(count, name):
    """Greets."""
    for _ in range(count):
        click.secho(f"hello {name}", fg="green")


runner = CliRunner()
for arguments in (["--help"], ["greet", "--count", "2", "ada"], ["greet"], ["--version"]):
    done = runner.invoke(tool, arguments, prog_name="tool")
    print(done.exit_code, done.output)
