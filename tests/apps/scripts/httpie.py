"""The `http` command against a server on the loopback interface."""
import http.server
import sys
import threading

from httpie.core import main


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"b": [1, 2], "a": "text"}')

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/x"
status = main(["http", "--ignore-stdin", "--body", "--pretty=all", "--style=monokai", url])
server.shutdown()
sys.exit(int(status))
