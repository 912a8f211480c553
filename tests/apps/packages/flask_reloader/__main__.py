"""In its first life it changes the file that is watched, in its second it ends."""

import os
import sys
import threading
import time
import urllib.request
from pathlib import Path

from flask import Flask

app = Flask(__name__)
watched = Path("settings.txt").absolute()


@app.route("/")
def settings():
    return watched.read_text()


def ask(port):
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as reply:
                print(sys.argv[1:], reply.read().decode(), flush=True)
            break
        except OSError:
            time.sleep(0.1)
    if watched.read_text() == "second":
        os._exit(0)
    # Longer than a file system's clock ticks, and the reloader looks.
    time.sleep(1)
    watched.write_text("second")


if __name__ == "__main__":
    if os.environ.get("WERKZEUG_RUN_MAIN") != "true":
        watched.write_text("first")
        import socket

        with socket.create_server(("127.0.0.1", 0)) as free:
            os.environ["PORT"] = str(free.getsockname()[1])
    port = int(os.environ["PORT"])
    if os.environ.get("WERKZEUG_RUN_MAIN") == "true":
        threading.Thread(target=ask, args=[port], daemon=True).start()
    app.run(
        port=port,
        use_reloader=True,
        reloader_interval=0.2,
        reloader_type="stat",
        extra_files=[watched],
    )
