"""An application that fits into one file."""

import sys

from rich import print


def main():
    print(f"[bold]Hello[/bold] from [green]{__name__}[/green], Python {sys.version.split()[0]}")
