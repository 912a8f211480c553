"""Sessions and messages, without a kernel."""
import jupyter_client
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.session import Session

session = Session(key=b"k")
message = session.msg("status", {"execution_state": "idle"})
parts = session.serialize(message)
print(message["content"], session.deserialize(session.feed_identities(parts)[1])["msg_type"])
import zmq
context = zmq.Context()
a, b = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
a.bind("inproc://x"); b.connect("inproc://x"); a.send(b"hi")
print(b.recv(), isinstance(KernelSpecManager().find_kernel_specs(), dict))
context.destroy()
