"""An application without a terminal: keys, a button and its style sheet."""
import asyncio

from textual.app import App
from textual.widgets import Button, Footer, Header, Label


class Counter(App):
    CSS = "Label { color: red; }"
    BINDINGS = [("a", "add", "Add")]
    count = 0

    def compose(self):
        yield Header()
        yield Label("0", id="count")
        yield Button("add", id="add")
        yield Footer()

    def action_add(self):
        self.count += 1
        self.query_one("#count", Label).update(str(self.count))

    def on_button_pressed(self):
        self.action_add()


async def main():
    app = Counter()
    async with app.run_test() as pilot:
        await pilot.press("a", "a")
        await pilot.click("#add")
        print(app.count, app.query_one("#count", Label).styles.color.hex)


asyncio.run(main())
