"""A table, a tree, highlighted source, markdown and a traceback."""
from rich.console import Console
from rich.markdown import Markdown
from rich.syntax import Syntax
from rich.table import Table
from rich.tree import Tree

console = Console(width=60, force_terminal=True, color_system="truecolor")
table = Table(title="Stars")
table.add_column("name")
table.add_column("mag", justify="right")
table.add_row("Sirius", "[bold]-1.46[/]")
console.print(table, Tree("root").add("leaf"), ":rocket: 日本語")
console.print(Syntax("def f(x):\n    return x ** 2  # square", "python", line_numbers=True))
console.print(Markdown("# Title\n\n* one\n* two `code`"))
try:
    1 / 0
except ZeroDivisionError:
    plain = Console(width=60, record=True, file=open("/dev/null", "w"))
    plain.print_exception(show_locals=False)
    print("1 / 0" in plain.export_text())
