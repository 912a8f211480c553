"""Messages by descriptor: the upb implementation."""
from google.protobuf import descriptor_pb2, json_format, struct_pb2, timestamp_pb2
from google.protobuf.internal import api_implementation

struct = struct_pb2.Struct()
struct.update({"a": [1, "x", None]})
print(json_format.MessageToJson(struct, indent=None), struct.SerializeToString(deterministic=True).hex())
print(timestamp_pb2.Timestamp(seconds=5).ToJsonString(), api_implementation.Type())
print(descriptor_pb2.FileDescriptorProto(name="x.proto").name)
