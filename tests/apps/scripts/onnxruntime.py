"""A model of one operator, written by hand in the protobuf encoding."""
import numpy as np
import onnxruntime as ort


def field(number, payload):
    if isinstance(payload, int):
        return bytes([number << 3, payload])
    return bytes([number << 3 | 2, len(payload)]) + payload


def value(name):
    shape = field(2, field(1, field(1, 3)))
    return field(1, name) + field(2, field(1, field(1, 1) + shape))


node = field(1, b"x") + field(1, b"x") + field(2, b"y") + field(4, b"Add")
graph = field(1, node) + field(2, b"g") + field(11, value(b"x")) + field(12, value(b"y"))
model = field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 13))
session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
print(session.run(None, {"x": np.array([1, 2, 3], dtype=np.float32)})[0].tolist(), ort.get_available_providers()[-1])
