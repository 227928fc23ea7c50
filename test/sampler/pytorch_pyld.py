"""JEM++'s PYLD as written: M outer passes for p = dE/dconv1, each with N inner steps on <conv1(x), p>; float64 autograd."""

import json
import sys

import torch
import torch.nn.functional as F

case = json.load(sys.stdin)


def tensor(name):
    given = case["tensors"][name]
    return torch.tensor(given["values"], dtype=torch.float64).reshape(given["shape"])


def conv1(x):
    scaled = (x - 0.5) / 0.25
    return F.conv2d(scaled, tensor("conv1.weight").permute(3, 2, 0, 1), tensor("conv1.bias"), stride=2, padding=1)


def energy_behind(y):
    h = F.silu(y)
    h = F.silu(F.conv2d(h, tensor("conv2.weight").permute(3, 2, 0, 1), tensor("conv2.bias"), padding=1))
    logits = h.mean(dim=(2, 3)) @ tensor("head.weight") + tensor("head.bias")
    return -torch.logsumexp(logits, dim=1).sum()


x = torch.tensor(case["start"], dtype=torch.float64).reshape(2, 6, 6, 3).permute(0, 3, 1, 2)
for _ in range(case["outer"]):
    y = conv1(x).detach().requires_grad_()
    (p,) = torch.autograd.grad(energy_behind(y), y)
    for _ in range(case["innerSteps"]):
        x = x.detach().requires_grad_()
        (g,) = torch.autograd.grad((conv1(x) * p).sum(), x)
        move = (-case["stepSize"] * g).clamp(-case["clampGradient"], case["clampGradient"])
        x = (x + move).clamp(0, 1).detach()

json.dump(x.permute(0, 2, 3, 1).flatten().tolist(), sys.stdout)
