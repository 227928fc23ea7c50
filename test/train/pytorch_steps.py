"""Training steps as published, in float64 autograd, on a multi-layer perceptron: what weights they end with."""

import json
import sys

import torch
import torch.nn.functional as F


def forward_first(x, w):
    return (x - 0.5) / 0.25 @ w["linear1.weight"] + w["linear1.bias"]


def forward_rest(h, w):
    return F.silu(h) @ w["head.weight"] + w["head.bias"]


def forward(x, w):
    return forward_rest(forward_first(x, w), w)


def project(moved, x, eps):
    return torch.min(torch.max(moved, (x - eps).clamp(0, 1)), (x + eps).clamp(0, 1))


def grads_of(loss, w):
    return dict(zip(w, torch.autograd.grad(loss, list(w.values()))))


def leaves(w):
    return {k: v.detach().clone().requires_grad_() for k, v in w.items()}


class Nesterov:
    """torch.optim.SGD(nesterov=True) itself, on a dictionary."""

    def __init__(self, w, lr, momentum):
        self.params = [v.detach().clone().requires_grad_() for v in w.values()]
        self.names = list(w)
        self.opt = torch.optim.SGD(self.params, lr=lr, momentum=momentum, nesterov=momentum > 0)

    def step(self, grads):
        for p, name in zip(self.params, self.names):
            p.grad = grads[name].clone()
        self.opt.step()
        return {n: p.detach().clone().requires_grad_() for n, p in zip(self.names, self.params)}


def standard(case, w, opt, x, y):
    return opt.step(grads_of(F.cross_entropy(forward(x, w), y), w))


def free(case, w, opt, x, y):
    """Shafahi et al., algorithm 1: every replay updates the weights and the perturbation from one backward pass."""
    a = case["attack"]
    adv = x.clone()
    for _ in range(a["replays"]):
        adv = adv.detach().requires_grad_()
        loss = F.cross_entropy(forward(adv, w), y)
        g_x = torch.autograd.grad(loss, adv, retain_graph=True)[0]
        g_w = grads_of(loss, w)
        adv = project(adv.detach() + a["stepSize"] * g_x.sign(), x, a["eps"])
        w = opt.step(g_w)
    return w


def yopo(case, w, opt, x, y):
    """Zhang et al., algorithm 1: p = dL/df0 from a full pass, then n steps on <f0(x), p>, which back-propagate through f0 alone."""
    a = case["attack"]
    adv = x.clone()
    total = {k: torch.zeros_like(v) for k, v in w.items()}
    for _ in range(a["replays"]):
        h = forward_first(adv, w)
        loss = F.cross_entropy(forward_rest(h, w), y)
        (p,) = torch.autograd.grad(loss, h, retain_graph=True)
        for k, g in grads_of(loss, w).items():
            total[k] += g / a["replays"]
        for _ in range(a["innerSteps"]):
            adv = adv.detach().requires_grad_()
            (g_x,) = torch.autograd.grad((forward_first(adv, w) * p.detach()).sum(), adv)
            adv = project(adv.detach() + a["stepSize"] * g_x.sign(), x, a["eps"])
    return opt.step(total)


def awp(case, w, opt, x, y):
    """csdongxian/AWP: the difference that one ascent step makes, rescaled to gamma |w| tensor by tensor; add, differentiate, take back."""
    gamma = case["optimizer"]["perturbation"]["gamma"]
    ascent = grads_of(F.cross_entropy(forward(x, w), y), w)
    proxy = {k: w[k].detach() + 0.37 * g for k, g in ascent.items()}
    moved = {}
    for k, v in w.items():
        v = v.detach()
        if v.dim() <= 1:
            moved[k] = v
            continue
        diff = proxy[k] - v
        moved[k] = v + gamma * v.norm() / (diff.norm() + 1e-20) * diff
    moved = leaves(moved)
    return opt.step(grads_of(F.cross_entropy(forward(x, moved), y), moved))


def sam(case, w, opt, x, y):
    """davda54/sam, which SADA-JEM uses."""
    p = case["optimizer"]["perturbation"]
    g = grads_of(F.cross_entropy(forward(x, w), y), w)
    norm = torch.stack([((v.abs() if p["adaptive"] else 1.0) * g[k]).norm() for k, v in w.items()]).norm()
    scale = p["rho"] / (norm + 1e-12)
    moved = leaves({k: v.detach() + (v.detach() ** 2 if p["adaptive"] else 1.0) * g[k] * scale for k, v in w.items()})
    return opt.step(grads_of(F.cross_entropy(forward(x, moved), y), moved))


def pgd(case, w, opt, x, y):
    a = case["attack"]
    adv = x.clone()
    for _ in range(a["steps"]):
        adv = adv.detach().requires_grad_()
        f = forward(adv, w)
        loss = {
            "cross-entropy": lambda: F.cross_entropy(f, y, reduction="sum"),
            "energy": lambda: -torch.logsumexp(f, 1).sum(),
            "cross-entropy-energy": lambda: F.cross_entropy(f, y, reduction="sum") - a["energyWeight"] * torch.logsumexp(f, 1).sum(),
            "margin": lambda: (f.masked_fill(F.one_hot(y, f.shape[1]).bool(), -1e30).max(1).values - f.gather(1, y[:, None])[:, 0]).sum(),
        }[a["target"]]()
        (g,) = torch.autograd.grad(loss if a["direction"] == "ascend" else -loss, adv)
        if a["norm"] == "linf":
            adv = project(adv.detach() + a["stepSize"] * g.sign(), x, a["eps"])
        else:
            moved = adv.detach() + a["stepSize"] * g / g.norm(dim=1, keepdim=True)
            delta = moved - x
            adv = (x + delta * (a["eps"] / delta.norm(dim=1, keepdim=True)).clamp(max=1)).clamp(0, 1)
    return opt.step(grads_of(F.cross_entropy(forward(adv.detach(), w), y), w))


def run(case):
    w = leaves({k: torch.tensor(t["values"], dtype=torch.float64).reshape(t["shape"]) for k, t in case["weights"].items()})
    opt = Nesterov(w, case["optimizer"]["lr"], case["optimizer"]["momentum"])
    seen = []
    for batch in case["batches"]:
        x = torch.tensor(batch["images"], dtype=torch.float64).reshape(len(batch["labels"]), -1) / 255
        w = globals()[case["step"]](case, w, opt, x, torch.tensor(batch["labels"]))
        seen.append({k: v.detach().clone() for k, v in w.items()})
    swa = case["optimizer"]["swa"]
    mean = {k: torch.stack([s[k] for s in seen[swa["first"] :]]).mean(0) for k in w} if swa else {}
    flat = lambda tensors: {k: v.flatten().tolist() for k, v in tensors.items()}
    return {"last": flat(seen[-1]), "mean": flat(mean)}


json.dump([run(case) for case in json.load(sys.stdin)], sys.stdout)
