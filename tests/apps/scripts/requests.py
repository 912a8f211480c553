"""A session against a server on the loopback interface."""
import http.server
import json
import threading

import requests


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({"got": body.decode(), "path": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
with requests.Session() as session:
    reply = session.post(f"http://127.0.0.1:{server.server_port}/a", params={"q": "é"}, json={"n": 1})
print(reply.status_code, reply.json())
try:
    requests.get("http://127.0.0.1:1/", timeout=2)
except requests.ConnectionError as error:
    print(type(error).__name__)
server.shutdown()
print(open(requests.certs.where()).read().count("BEGIN CERTIFICATE") > 100)
