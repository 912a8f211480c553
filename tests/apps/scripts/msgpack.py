"""MessagePack with its compiled packer."""
import msgpack

data = msgpack.packb({"a": [1, None, b"x"], "t": msgpack.Timestamp(5, 6)})
print(data.hex(), msgpack.unpackb(data))
print(msgpack.Packer.__module__)
