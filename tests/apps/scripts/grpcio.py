"""A server and a call to it on the loopback interface."""
from concurrent import futures

import grpc


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/Echo/Upper":
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request.upper())


server = grpc.server(futures.ThreadPoolExecutor(2), handlers=(Echo(),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    print(channel.unary_unary("/Echo/Upper")(b"hello", timeout=10))
    try:
        channel.unary_unary("/Echo/None")(b"", timeout=10)
    except grpc.RpcError as error:
        print(error.code())
server.stop(None).wait()
