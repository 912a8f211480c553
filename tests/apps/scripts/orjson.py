"""JSON, there and back."""
import datetime

import orjson

print(orjson.dumps({"a": [1, 2.5, None], "when": datetime.datetime(2024, 1, 1)}, option=orjson.OPT_SORT_KEYS))
print(orjson.loads(b'{"x": [true, "\xc3\xa9"]}'))
try:
    orjson.loads(b"{")
except orjson.JSONDecodeError as error:
    print(error)
