"""The objectives of the published systems, and the local smoothness terms, in PyTorch and float64: an independent oracle.

Formulas and weights are written down here a second time, from the papers and their code, not read from the experiments. Input
gradients that a loss contains are differentiated twice by autograd. Weights come as a safetensors file.
"""

import base64
import json
import struct
import sys

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
f64 = torch.float64


def load(path):
    """safetensors: 8 bytes of header length, a JSON header, then the data."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "F32"
        begin, end = entry["data_offsets"]
        values = torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float32)
        tensors[name] = values.reshape(entry["shape"]).to(f64).requires_grad_()
    return tensors


def decode(text, shape):
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.float32).to(f64).reshape(shape)


def encode(tensor):
    return base64.b64encode(tensor.detach().to(f64).contiguous().numpy().tobytes()).decode()


CIFAR = ([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616])
HALF = ([0.5], [0.5])
relu = F.relu
silu = lambda x: x * torch.sigmoid(x)
leaky = lambda x: torch.where(x >= 0, x, 0.2 * x)


class Network:
    """Two convolutions, the second of stride 2, each with the activation; mean over the image; linear. [B,H,W,C] in, logits out."""

    def __init__(self, parameters, activation, scale):
        self.p, self.activation, self.scale = parameters, activation, scale

    def __call__(self, x):
        mean, std = (torch.tensor(v, dtype=f64) for v in self.scale)
        h = ((x - mean) / std).permute(0, 3, 1, 2)
        for name, stride in (("conv1", 1), ("conv2", 2)):
            weight = self.p[name + ".weight"].permute(3, 2, 0, 1)
            h = self.activation(F.conv2d(h, weight, self.p[name + ".bias"], stride=stride, padding=1))
        return h.mean((2, 3)) @ self.p["head.weight"] + self.p["head.bias"]


def lse(f):
    return torch.logsumexp(f, 1)


def kl_each(f_clean, f_adv):
    """KL(p(x) || p(x*)) of each sample."""
    p = torch.softmax(f_clean, 1)
    return (p * (torch.log_softmax(f_clean, 1) - torch.log_softmax(f_adv, 1))).sum(1)


def kl_criterion(f_clean, f_adv):
    """As TRADES' code calls it."""
    return F.kl_div(F.log_softmax(f_adv, 1), F.softmax(f_clean, 1), reduction="batchmean")


def mart(f, fa, y):
    adv = torch.softmax(fa, 1)
    nat = torch.softmax(f, 1)
    top = torch.argsort(adv, 1)[:, -2:]
    rival = torch.where(top[:, -1] == y, top[:, -2], top[:, -1])
    rows = torch.arange(len(y))
    bce = -torch.log(adv[rows, y]) - torch.log(1.0001 - adv[rows, rival])
    return bce.mean() + 5 * (kl_each(f, fa) * (1 - nat[rows, y])).mean()


def weat(f, fa, y):
    w = (1 / torch.log(1 + torch.exp(torch.abs(-lse(f))))).detach()
    return (F.cross_entropy(fa, y, reduction="none") * w).mean() + 7 * (kl_each(f, fa) * w).mean()


def jem(f, fp, fq, y):
    """CE + f(x_q) - f(x_p), f the logsumexp; x_p are data, x_q chains."""
    return F.cross_entropy(f, y) + lse(fq).mean() - lse(fp).mean()


def bce_dat(fp, fq):
    return -F.logsigmoid(lse(fp)).mean() - torch.log(1 - torch.sigmoid(lse(fq))).mean()


def huber(r, beta):
    return torch.where(r.abs() < beta, r * r / (2 * beta), r.abs() - beta / 2).mean()


ce = F.cross_entropy

# v: logits of the views clean, natural, adversarial, generated.
PRESETS = {
    "standard": (relu, CIFAR, lambda v, y: ce(v["clean"], y)),
    "pgd-at": (relu, CIFAR, lambda v, y: ce(v["adversarial"], y)),
    "fast-at": (relu, CIFAR, lambda v, y: ce(v["adversarial"], y)),
    "smooth-at": (silu, CIFAR, lambda v, y: ce(v["adversarial"], y)),
    "trades": (relu, CIFAR, lambda v, y: ce(v["clean"], y) + 6 * kl_criterion(v["clean"], v["adversarial"])),
    "mart": (relu, CIFAR, lambda v, y: mart(v["clean"], v["adversarial"], y)),
    "weat": (relu, CIFAR, lambda v, y: weat(v["clean"], v["adversarial"], y)),
    "jem": (leaky, HALF, lambda v, y: jem(v["clean"], v["clean"], v["generated"], y)),
    "jempp": (leaky, HALF, lambda v, y: jem(v["clean"], v["clean"], v["generated"], y)),
    "sada-jem": (leaky, HALF, lambda v, y: jem(v["clean"], v["natural"], v["generated"], y)),
    "m-ebm": (
        leaky,
        HALF,
        lambda v, y: jem(v["clean"], v["natural"], v["generated"], y)
        + 0.5 * ((lse(v["natural"]) ** 2).mean() + lse(v["generated"]).mean() ** 2),
    ),
    "jeat": (leaky, HALF, lambda v, y: jem(v["adversarial"], v["adversarial"], v["generated"], y)),
    "dat": (relu, CIFAR, lambda v, y: ce(v["adversarial"], y) + bce_dat(v["natural"], v["generated"])),
    # minimise -(log p(x) + log p(x_adv | x) + log p(y | x, x_adv))
    "eb-jdat-paper": (
        leaky,
        HALF,
        lambda v, y: lse(v["generated"]).mean()
        - lse(v["clean"]).mean()
        + (-lse(v["adversarial"])).mean()
        - (-lse(v["clean"])).mean()
        + ce(v["adversarial"], y),
    ),
    # px (f(x_q) - f(x_p)) + pyx CE(x) + w_xadv (-(f(x_p) - f(x_adv))) + w_yadv CE(x_adv)
    "eb-jdat-as-released": (
        leaky,
        HALF,
        lambda v, y: (lse(v["generated"]).mean() - lse(v["clean"]).mean())
        + ce(v["clean"], y)
        + 0.1 * (-(lse(v["clean"]).mean() - lse(v["adversarial"]).mean()))
        + ce(v["adversarial"], y),
    ),
    "jdat": (
        silu,
        HALF,
        lambda v, y: ce(v["clean"], y)
        + ce(v["adversarial"], y)
        + (-lse(v["clean"])).mean()
        - (-lse(v["generated"])).mean()
        + huber(lse(v["clean"]) - lse(v["adversarial"]), 1)
        + 0.1 * (lse(v["generated"]).mean() - lse(v["clean"]).mean()) ** 2
        + 0.01 * ((lse(v["clean"]) ** 2).mean() + (lse(v["generated"]) ** 2).mean()),
    ),
}


def each_ce(network, x, y):
    return ce(network(x), y, reduction="none")


def input_gradient(network, x, y, keep):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(each_ce(network, x, y).sum(), x, create_graph=keep)[0]


def length(v):
    return v.flatten(1).norm(dim=1)


def dots(a, b):
    return (a * b).flatten(1).sum(1)


def vat(n, v, y, case):
    return kl_each(n(v["clean"]).detach(), n(v["virtual-adversarial"])).mean()


def linear_part(n, v, y):
    return dots(v["llr"] - v["clean"], input_gradient(n, v["clean"], y, True))


def llr(n, v, y, case):
    return (each_ce(n, v["llr"], y) - each_ce(n, v["clean"], y) - linear_part(n, v, y)).abs().mean()


def llr_gradient(n, v, y, case):
    return linear_part(n, v, y).abs().mean()


def elle_of(measure):
    def penalty(n, v, y, case):
        t = torch.tensor(case["share"], dtype=f64)
        a, b, c = (measure(n, v[name], y) for name in ("neighbour-a", "neighbour-b", "between-neighbours"))
        return ((c - (1 - t) * a - t * b) ** 2).mean()

    return penalty


def grad_align(n, v, y, case):
    a = input_gradient(n, v["clean"], y, False).detach()
    b = input_gradient(n, (v["grad-align-ahead"] + v["grad-align-behind"]) / 2, y, True)
    return (1 - dots(a, b) / (length(a) * length(b))).mean()


def cure(n, v, y, case):
    g = input_gradient(n, v["clean"], y, True)
    sign = torch.sign(g.detach())
    z = 1.5 * sign / length(sign)[:, None, None, None]
    return length(input_gradient(n, v["clean"] + z, y, True) - g).mean()


def clean_pairs(n, v, y, case):
    f = n(v["clean"])
    return ((f[:, None, :] - f[None, :, :]) ** 2).sum(2).mean()


def moments(n, v, y, case):
    e, g = -lse(n(v["clean"])), -lse(n(v["generated"]))
    return (g.mean() - e.mean()) ** 2 + (g.std(unbiased=False) - e.std(unbiased=False)) ** 2


TERMS = {
    "vat": vat,
    "llr": llr,
    "llr-gradient": llr_gradient,
    "elle": elle_of(each_ce),
    "elle-energy": elle_of(lambda n, x, y: -lse(n(x))),
    "grad-align": grad_align,
    "cure": cure,
    "logit-pairing": lambda n, v, y, case: ((n(v["clean"]) - n(v["adversarial"])) ** 2).sum(1).mean(),
    "clean-logit-pairing": clean_pairs,
    "logit-squeezing": lambda n, v, y, case: (n(v["clean"]) ** 2).sum(1).mean(),
    "align-adversarial-squared": lambda n, v, y, case: ((lse(n(v["clean"])) - lse(n(v["adversarial"]))) ** 2).mean(),
    "align-generated-moments": moments,
}


def answer(case):
    y = torch.tensor(case["labels"])
    views = {name: decode(text, [-1, *case["shape"]]) for name, text in case["views"].items()}
    parameters = load(case["weights"])
    inputs = {}
    if case["kind"] == "preset":
        activation, scale, loss_of = PRESETS[case["name"]]
        network = Network(parameters, activation, scale)
        inputs = {name: x.requires_grad_() for name, x in views.items()}
        loss = loss_of({name: network(x) for name, x in inputs.items()}, y)
    else:
        loss = TERMS[case["name"]](Network(parameters, silu, HALF), views, y, case)
    zero = lambda x: torch.zeros_like(x) if x.grad is None else x.grad
    loss.backward()
    return {
        "loss": loss.item(),
        "parameters": {name: encode(zero(p)) for name, p in parameters.items()},
        "inputs": {name: encode(zero(x)) for name, x in inputs.items()},
    }


json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
