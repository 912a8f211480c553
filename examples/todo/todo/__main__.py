"""The command line. The list is kept in the file that --file names, in memory without one."""

import sqlite3
from importlib.resources import files

import click
from rich.console import Console
from rich.table import Table


def connect(path):
    connection = sqlite3.connect(path)
    connection.executescript(files(__package__).joinpath("schema.sql").read_text("utf-8"))
    return connection


def show(connection):
    table = Table("", "task", title="to do")
    for done, task in connection.execute("SELECT done, task FROM tasks ORDER BY done, task"):
        table.add_row("✓" if done else " ", task)
    Console().print(table)


@click.command(context_settings={"auto_envvar_prefix": "TODO"})
@click.option("--file", default=":memory:", help="Where the list is kept.")
@click.option("--done", multiple=True, help="A task that is done.")
@click.argument("tasks", nargs=-1)
def main(file, done, tasks):
    """Adds TASKS to the list and shows it."""
    with connect(file) as connection:
        connection.executemany("INSERT OR IGNORE INTO tasks (task) VALUES (?)", zip(tasks))
        connection.executemany("UPDATE tasks SET done = 1 WHERE task = ?", zip(done))
    show(connection)


if __name__ == "__main__":
    main(prog_name="todo")
