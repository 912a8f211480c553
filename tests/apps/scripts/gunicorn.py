"""gunicorn's sync worker serves one request on the loopback interface."""
import os
import signal
import socket
import sys
import threading
import time
import urllib.request

from flask import Flask
from gunicorn.app.base import BaseApplication

app = Flask("site")


@app.get("/")
def index():
    return "from a worker"


class Server(BaseApplication):
    def load_config(self):
        for name, value in {"bind": f"127.0.0.1:{PORT}", "workers": 1, "loglevel": "critical"}.items():
            self.cfg.set(name, value)

    def load(self):
        return app


with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    PORT = probe.getsockname()[1]


def ask():
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/") as reply:
                print(reply.status, reply.headers["Server"], reply.read().decode(), flush=True)
                break
        except OSError:
            time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)


sys.argv = ["gunicorn"]
threading.Thread(target=ask).start()
Server().run()
