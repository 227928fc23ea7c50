"""The same training step in PyTorch, eager, as a careful user would write it: the peer of `isoerg bench step --peer pytorch`.

Same model, parameters, batch, objective, attack and chains; channels_last; gradients of the inputs alone in the inner loops;
autocast where the job wants bf16 there; one concatenated batch for the update. Run as `pytorch_step.py FOLDER`; the folder is
written by bench/step/prepare.ts, the answer is one line of JSON as in bench/step/job.ts.
"""

import contextlib
import json
import os
import re
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


class Counter(TorchDispatchMode):
    """Counts the operators that reach ATen below autograd."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


class Residual(nn.Module):
    """Pre-activation block: o = act(x); y = conv2(act(conv1(o))) + (x or shortcut(o))."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1)
        self.shortcut = nn.Conv2d(cin, cout, 1, stride, bias=False) if stride != 1 or cin != cout else None

    def forward(self, x):
        o = F.silu(x)
        y = self.conv2(F.silu(self.conv1(o)))
        return y + (x if self.shortcut is None else self.shortcut(o))


class Network(nn.Module):
    """Named so that a parameter's name here is its name in isoerg, but for the residual blocks' place in a list."""

    def __init__(self, model, channels, classes):
        super().__init__()
        if model["activation"]["kind"] != "silu" or model["norm"]["kind"] != "none":
            raise SystemExit("the PyTorch peer has silu without normalisation layers only")
        self.mean, self.std = model["input"]["mean"], model["input"]["std"]
        self.body = nn.ModuleDict()
        if model["kind"] == "wide-resnet":
            self.final_activation = True
            self.body["stem"] = nn.Conv2d(channels, 16, 3, 1, 1)
            cin = 16
            for stage, stride in enumerate((1, 2, 2)):
                cout = 16 * 2**stage * model["width"]
                for block in range((model["depth"] - 4) // 6):
                    self.body[f"stage{stage + 1}_{block}"] = Residual(cin, cout, stride if block == 0 else 1)
                    cin = cout
        elif model["kind"] == "convnet":
            self.final_activation = False
            cin = channels
            for number, stage in enumerate(model["stages"], 1):
                self.body[f"conv{number}"] = nn.Conv2d(cin, stage["channels"], 3, stage["stride"], 1)
                cin = stage["channels"]
        else:
            raise SystemExit(f"the PyTorch peer has no model of kind {model['kind']}")
        self.head = nn.Linear(cin, classes)

    def forward(self, x):
        x = (x - self.shift) * self.scale
        for layer in self.body.values():
            x = layer(x)
            if not self.final_activation:
                x = F.silu(x)
        if self.final_activation:
            x = F.silu(x)
        return self.head(x.mean((2, 3))).float()

    def load(self, job, flat):
        """Parameters from isoerg's flat vector: filters are [kh,kw,cin,cout] there, linear weights [in,out]."""
        device = flat.device
        shape = (1, -1, 1, 1)
        self.register_buffer("shift", torch.tensor(self.mean, device=device).view(shape))
        self.register_buffer("scale", 1 / torch.tensor(self.std, device=device).view(shape))
        mine = dict(self.named_parameters())
        at = 0
        for parameter in job["parameters"]:
            size = torch.Size(parameter["shape"]).numel()
            value = flat[at : at + size].view(parameter["shape"])
            at += size
            name = parameter["name"]
            for stage in "123":
                name = name.replace(f"stage{stage}.", f"stage{stage}_")
            name = name if name.startswith("head") else "body." + name
            value = {4: lambda v: v.permute(3, 2, 0, 1), 2: lambda v: v.t(), 1: lambda v: v}[value.dim()](value)
            target = mine.pop(name)
            assert target.shape == value.shape, (name, target.shape, value.shape)
            with torch.no_grad():
                target.copy_(value)
        assert not mine and at == flat.numel(), f"parameters without a value: {list(mine)}"


def energy(logits):
    return -torch.logsumexp(logits, 1)


def attack(net, x, y, config):
    eps, step = config["eps"], config["stepSize"]
    low, high = (x - eps).clamp_(min=0), (x + eps).clamp_(max=1)
    current = torch.min(torch.max(x + (torch.rand_like(x) - 0.5) * (2 * eps), low), high)
    for _ in range(config["steps"]):
        current.requires_grad_(True)
        loss = F.cross_entropy(net(current), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, current)
        current = torch.min(torch.max(current.detach() + step * gradient.sign(), low), high)
    return current


def sample(net, chains, config):
    current = chains
    for _ in range(config["steps"]):
        current = current.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(energy(net(current)).sum(), current)
        move = (-config["stepSize"] * gradient).clamp_(-config["clampGradient"], config["clampGradient"])
        current = (current.detach() + move + config["noise"] * torch.randn_like(current)).clamp_(0, 1)
    return current


def objective(net, x, x_adv, x_gen, y, weights, beta):
    logits = net(torch.cat([x, x_adv, x_gen]))
    clean, adversarial, generated = logits.split([len(x), len(x_adv), len(x_gen)])
    e, e_adv, e_gen = energy(clean), energy(adversarial), energy(generated)
    return (
        weights["clean-ce"] * F.cross_entropy(clean, y)
        + weights["adversarial-ce"] * F.cross_entropy(adversarial, y)
        + weights["contrast"] * (e.mean() - e_gen.mean())
        + weights["energy-l2"] * (e.square().mean() + e_gen.square().mean())
        + weights["align-adversarial"] * F.smooth_l1_loss(e_adv, e, beta=beta)
        + weights["align-generated"] * (e_gen.mean() - e.mean()).square()
    )


def resident(name):
    """VmRSS or VmHWM in bytes: what bench/step/run.ts reads of its own process."""
    with open("/proc/self/status") as file:
        return int(re.search(rf"^{name}:\s+(\d+) kB$", file.read(), re.M).group(1)) * 1024


def main(folder):
    with open(os.path.join(folder, "job.json")) as file:
        job = json.load(file)
    config, device = job["config"], torch.device(job["device"])
    torch.set_num_threads(job["threads"])
    # PyTorch rounds a GPU's convolutions to TF32 unless it is told not to.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = job["precision"] == "tf32"
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(1)

    def array(name, dtype):
        with open(os.path.join(folder, name), "rb") as file:
            return torch.frombuffer(bytearray(file.read()), dtype=dtype)

    height, width, channels = job["shape"]
    images = array("images.u8", torch.uint8).view(-1, height, width, channels).permute(0, 3, 1, 2)  # NHWC storage is channels_last
    labels = array("labels.i32", torch.int32).long()
    start_rss = resident("VmRSS")
    batch, count = config["data"]["batchSize"], config["sampler"]["chains"]
    net = Network(config["model"], channels, job["numClasses"]).to(device, memory_format=torch.channels_last)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    net.load(job, array("check.f32", torch.float32).to(device))
    with torch.no_grad():
        first = (images[:batch].float() / 255).contiguous(memory_format=torch.channels_last).to(device)
        check_loss = F.cross_entropy(net(first), labels[:batch].to(device)).item()
    net.load(job, array("initial.f32", torch.float32).to(device))

    rule = config["optimizer"]
    decayed = [p for p in net.parameters() if p.dim() > 1]
    plain = [p for p in net.parameters() if p.dim() == 1]
    groups = [{"params": decayed, "weight_decay": rule["weightDecay"]}, {"params": plain}]
    optimizer = torch.optim.SGD(groups, lr=rule["lr"], momentum=rule["momentum"], nesterov=True)
    weights = {name: term["value"] for name, term in config["objective"].items() if isinstance(term, dict)}
    buffer = torch.rand(4 * count, channels, height, width, device=device).contiguous(memory_format=torch.channels_last)

    counter = Counter()  # watches the second step, which is never timed
    parts = {}
    step_ms = []
    for step in range(1 + job["warmupSteps"] + job["timedSteps"]):
        begin = last = time.perf_counter()
        timed = step > job["warmupSteps"]

        def lap(part):
            nonlocal last
            wait()
            now = time.perf_counter()
            if timed:
                parts[part] = parts.get(part, 0) + (now - last) * 1000 / job["timedSteps"]
            last = now

        with counter if step == 1 else contextlib.nullcontext():
            ids = torch.randperm(len(images))[:batch]
            x = (images[ids].float() / 255).contiguous(memory_format=torch.channels_last).to(device)
            y = labels[ids].to(device)
            slots = torch.randint(4, (count,)) * count + torch.arange(count)
            chains = buffer[slots].contiguous(memory_format=torch.channels_last)
            lap("data")
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=job["precision"] == "bf16"):
                x_adv = attack(net, x, y, config["attack"])
                lap("attack")
                x_gen = sample(net, chains, config["sampler"])
                lap("sample")
            optimizer.zero_grad(set_to_none=True)
            loss = objective(net, x, x_adv, x_gen, y, weights, config["objective"]["align-beta"])
            loss.backward()
            lap("gradient")
            assert torch.isfinite(loss), "the loss is not finite"
            optimizer.step()
            buffer[slots] = x_gen
            lap("update")
        if timed:
            step_ms.append((last - begin) * 1000)

    print(
        json.dumps(
            {
                "program": f"PyTorch {torch.__version__}",
                "stepMs": step_ms,
                "partsMs": parts,
                "checkLoss": check_loss,
                "peakRssBytes": resident("VmHWM"),
                "startRssBytes": start_rss,
                "peakTensorBytes": torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
                "opsPerStep": counter.count,
                "peakGflops": None,
            }
        )
    )


main(sys.argv[1])
