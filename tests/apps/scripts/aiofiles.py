"""Reads a package's file and writes one of its own, in the threads of asyncio's executor."""
import asyncio
from pathlib import Path

import aiofiles
import aiofiles.os


async def main():
    async with aiofiles.open(aiofiles.__file__, encoding="utf-8") as file:
        print((await file.readline()).strip())
    async with aiofiles.open("out.txt", "w") as file:
        await file.write("one\ntwo\n")
    async with aiofiles.open("out.txt") as file:
        print([line async for line in file])
    folder = Path(aiofiles.__file__).parent
    print(sorted(set(await aiofiles.os.listdir(folder)) - {"__pycache__"}))
    print((await aiofiles.os.stat(folder / "os.py")).st_size)


asyncio.run(main())
