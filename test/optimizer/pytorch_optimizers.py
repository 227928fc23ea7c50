"""Twenty updates by torch.optim in float64, on the gradients given; each step's learning rate is given as well."""

import base64
import json
import sys

import torch


def decode(text):
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.float32).double()


def encode(tensor):
    return base64.b64encode(tensor.detach().double().contiguous().numpy().tobytes()).decode()


def run(case):
    config = case["config"]
    values = decode(case["values"])
    parameters = [values[p["offset"] : p["offset"] + p["size"]].clone().requires_grad_() for p in case["parameters"]]
    groups = [
        {"params": [q], "weight_decay": config["weightDecay"] if p["decay"] else 0.0} for q, p in zip(parameters, case["parameters"])
    ]
    if config["kind"] == "sgd":
        momentum = config["momentum"]
        optimizer = torch.optim.SGD(groups, lr=1.0, momentum=momentum, nesterov=momentum > 0)
    else:
        optimizer = torch.optim.AdamW(groups, lr=1.0, betas=config["betas"], eps=config["epsilon"])
    average = values.clone()
    for gradient, lr in zip(case["gradients"], case["learningRates"]):
        flat = decode(gradient)
        for q, p in zip(parameters, case["parameters"]):
            q.grad = flat[p["offset"] : p["offset"] + p["size"]].clone()
        if config["clipNorm"] is not None:
            torch.nn.utils.clip_grad_norm_(parameters, config["clipNorm"])
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        average = config["ema"] * average + (1 - config["ema"]) * torch.cat(parameters).detach()
    return {"values": encode(torch.cat(parameters)), "average": encode(average)}


json.dump([run(case) for case in json.load(sys.stdin)], sys.stdout)
