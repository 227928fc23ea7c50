"""The models of src/model in PyTorch operations and autograd, in float64: an independent oracle of their values and gradients.

The same networks with convolutions in bfloat16 (norms and the head in float32) say what error that precision has by nature.
"""

import base64
import json
import math
import sys

import torch
import torch.nn.functional as F

torch.set_num_threads(1)


def decode(text, shape):
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.float32).double().reshape(shape)


def encode(tensor):
    return base64.b64encode(tensor.detach().double().contiguous().numpy().tobytes()).decode()


def activate(x, a):
    kind = a["kind"]
    if kind == "relu":
        return F.relu(x)
    if kind == "silu":
        return F.silu(x)
    if kind == "gelu":
        return F.gelu(x)
    if kind == "elu":
        return F.elu(x)
    if kind == "leaky-relu":
        return F.leaky_relu(x, a["slope"])
    if kind == "softplus":
        return F.softplus(x, beta=a["sharpness"], threshold=1e9)
    if kind == "smooth-relu":
        r = F.relu(x)
        return r - torch.log1p(a["sharpness"] * r) / a["sharpness"]
    raise ValueError(kind)


class Network:
    def __init__(self, config, parameters, full, inner, groups=None):
        self.config = config
        self.p = parameters
        self.groups = groups  # of samples that batch norms take statistics over: [size, weight in the running ones]; None: the running ones
        self.taken = {}  # from running statistics by one update
        self.full = full  # of parameters, norms, features and logits
        self.inner = inner  # of images between the layers

    def conv(self, x, name, stride):
        weight = self.p[name + ".weight"].permute(3, 2, 0, 1)  # [kh,kw,in,out] -> [out,in,kh,kw]
        bias = self.p.get(name + ".bias")
        if bias is not None:
            bias = bias.to(self.inner)
        return F.conv2d(x, weight.to(self.inner), bias, stride=stride, padding=weight.shape[-1] // 2)

    def norm(self, x, name):
        norm = self.config["norm"]
        if norm["kind"] == "none":
            return x
        if norm["kind"] == "ghost-batch":
            return self.batch_norm(x.to(self.full), name).to(self.inner)
        y = F.group_norm(x.to(self.full), norm["groups"], self.p[name + ".weight"], self.p[name + ".bias"], 1e-5)
        return y.to(self.inner)

    def batch_norm(self, x, name):
        running = [self.p[f"{name}.running_{which}"].detach() for which in ("mean", "var")]
        affine = self.p[name + ".weight"], self.p[name + ".bias"]
        if self.groups is None:
            return F.batch_norm(x, *running, *affine, training=False, eps=1e-5)
        outputs = []
        for group, (_, weight) in zip(x.split([size for size, _ in self.groups]), self.groups):
            moved = [r.clone() for r in running]
            outputs.append(F.batch_norm(group, *moved, *affine, training=True, momentum=0.1, eps=1e-5))
            for which, before, after in zip(("mean", "var"), running, moved):
                key = f"{name}.running_{which}"
                self.taken[key] = self.taken.get(key, 0) + weight * (before - after)
        return torch.cat(outputs)

    def linear(self, x, name):
        return x @ self.p[name + ".weight"] + self.p[name + ".bias"]

    def act(self, x, name=None):
        a = self.config["activation"]
        if a.get("learnable"):
            a = {**a, "sharpness": (self.p[name + ".beta"] ** 2).to(x.dtype)}
        return activate(x, a)

    def convnet(self, x):
        for i, stage in enumerate(self.config["stages"], 1):
            x = self.act(self.norm(self.conv(x, f"conv{i}", stage["stride"]), f"norm{i}"), f"activation{i}")
        return self.linear(x.mean((2, 3)).to(self.full), "head")

    def wide_resnet(self, x):
        x = self.conv(x, "stem", 1)
        for stage in range(3):
            for index in range((self.config["depth"] - 4) // 6):
                name = f"stage{stage + 1}.{index}"
                stride = 2 if stage > 0 and index == 0 else 1
                o = self.act(self.norm(x, name + ".norm1"))
                branch = self.act(self.norm(self.conv(o, name + ".conv1", stride), name + ".norm2"))
                branch = self.conv(branch, name + ".conv2", 1)
                x = branch + (self.conv(o, name + ".shortcut", stride) if name + ".shortcut.weight" in self.p else x)
        return self.linear(self.act(self.norm(x, "norm")).mean((2, 3)).to(self.full), "head")

    def resnet_18(self, x):
        x = self.act(self.norm(self.conv(x, "conv1", 1), "norm1"))
        for stage in range(4):
            for index in range(2):
                name = f"stage{stage + 1}.{index}"
                stride = 2 if stage > 0 and index == 0 else 1
                branch = self.act(self.norm(self.conv(x, name + ".conv1", stride), name + ".norm1"))
                branch = self.norm(self.conv(branch, name + ".conv2", 1), name + ".norm2")
                if name + ".shortcut.conv.weight" in self.p:
                    x = self.norm(self.conv(x, name + ".shortcut.conv", stride), name + ".shortcut.norm")
                x = self.act(branch + x)
        return self.linear(x.mean((2, 3)).to(self.full), "head")

    def conv1d(self, x):
        x = x.to(self.full)[:, :, :, 0]  # [B,C,L]
        for i, stage in enumerate(self.config["stages"], 1):
            weight = self.p[f"conv{i}.weight"].permute(2, 1, 0)  # [size,in,out] -> [out,in,size]
            x = F.conv1d(x, weight, self.p.get(f"conv{i}.bias"), stride=stage["stride"], padding=weight.shape[-1] // 2)
            if self.config["norm"]["kind"] == "group":
                x = F.group_norm(x, self.config["norm"]["groups"], self.p[f"norm{i}.weight"], self.p[f"norm{i}.bias"], 1e-5)
            if self.config["norm"]["kind"] == "ghost-batch":
                x = self.batch_norm(x, f"norm{i}")
            x = self.act(x)
        return self.linear(x.mean(2), "head")

    def mlp(self, x):
        x = x.to(self.full).permute(0, 2, 3, 1).flatten(1)
        for i in range(1, len(self.config["hidden"]) + 1):
            x = self.act(self.linear(x, f"linear{i}"))
        return self.linear(x, "head")

    def __call__(self, x):  # [B,H,W,C] in [0,1]
        mean = torch.tensor(self.config["input"]["mean"], dtype=self.full)
        std = torch.tensor(self.config["input"]["std"], dtype=self.full)
        x = ((x - mean) / std).permute(0, 3, 1, 2).to(self.inner)
        return getattr(self, self.config["kind"].replace("-", "_"))(x)


def run(case, full, inner):
    parameters = {}
    flat = decode(case["values"], [-1]).to(full)
    for p in case["parameters"]:
        parameters[p["name"]] = flat[p["offset"] : p["offset"] + math.prod(p["shape"])].reshape(p["shape"]).clone().requires_grad_()
    x = decode(case["x"], case["xShape"]).to(full).requires_grad_()
    network = Network(case["config"], parameters, full, inner, case.get("groups"))
    logits = network(x)
    F.cross_entropy(logits, torch.tensor(case["labels"]), reduction="sum").backward()
    gradients = torch.cat([gradient_of(p, parameters[p["name"]], network.taken).flatten() for p in case["parameters"]])
    return {"logits": encode(logits), "inputGradient": encode(x.grad), "parameterGradient": encode(gradients)}


def gradient_of(spec, parameter, taken):
    if spec.get("statistic"):
        return taken.get(spec["name"], torch.zeros_like(parameter))
    return parameter.grad


def answer(case):
    return {"exact": run(case, torch.float64, torch.float64), "bf16": run(case, torch.float32, torch.bfloat16)}


json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
