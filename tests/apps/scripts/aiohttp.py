"""A server and a client on uvloop."""
import asyncio

import uvloop
from aiohttp import ClientSession, web


async def hello(request):
    return web.json_response({"hello": request.match_info["name"]})


async def main():
    app = web.Application()
    app.add_routes([web.get("/{name}", hello)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/ada") as reply:
        print(reply.status, await reply.json(), type(asyncio.get_running_loop()).__module__)
    await runner.cleanup()


uvloop.run(main())
