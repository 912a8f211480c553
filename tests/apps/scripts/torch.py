"""Gradients, a layer, and a scripted function on the CPU."""
import torch

torch.manual_seed(0)
x = torch.ones(3, requires_grad=True)
(x * x).sum().backward()
print(x.grad.tolist())
layer = torch.nn.Linear(4, 2)
print(tuple(layer(torch.ones(1, 4)).shape), torch.linalg.det(torch.eye(5) * 2).item())
