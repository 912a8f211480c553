"""An application behind uvicorn, and one request to it."""
import threading
import time
import urllib.request

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI(title="matrix")


class Item(BaseModel):
    name: str
    price: float = 1.5


@app.get("/items/{name}")
async def item(name: str) -> Item:
    return Item(name=name)


server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
for path in ("/items/pen", "/openapi.json"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as reply:
        print(reply.status, reply.read().decode()[:200])
server.should_exit = True
thread.join()
