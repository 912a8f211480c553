"""Serves a page, asks for it, and ends."""
import os
import socket
import threading
import time
import urllib.request
from pathlib import Path

from streamlit import config
from streamlit.web import bootstrap

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]


def ask():
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health") as reply:
                print(reply.status, reply.read().decode())
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as reply:
                print(reply.status, "<title>Streamlit</title>" in reply.read().decode())
            break
        except OSError:
            time.sleep(0.1)
    print("development:", config.get_option("global.developmentMode"), flush=True)
    os._exit(0)


Path("page.py").write_text("import streamlit\nstreamlit.title('a page')\n")
options = {
    "server_port": port,
    "server_address": "127.0.0.1",
    "server_headless": True,
    "browser_gatherUsageStats": False,
}
threading.Thread(target=ask).start()
bootstrap.load_config_options(options)
bootstrap.run("page.py", False, [], options)
