"""Fréchet distance, eigenvalues and Inception score by PyTorch's float64 linear algebra, as the reference for our own."""
import base64
import json
import sys

import numpy
import torch


def array(entry):
    values = numpy.frombuffer(base64.b64decode(entry["values"]), dtype="<f4").astype("float64")
    return torch.from_numpy(values.reshape(entry["shape"]).copy())


def moments(x):
    centred = x - x.mean(0)
    return x.mean(0), centred.T @ centred / (x.shape[0] - 1)


def frechet(a, b):
    m1, s1 = moments(a)
    m2, s2 = moments(b)
    # The textbook form: eigenvalues of the unsymmetric product.
    roots = torch.sqrt(torch.clamp(torch.linalg.eigvals(s1 @ s2).real, min=0)).sum()
    return float(((m1 - m2) ** 2).sum() + torch.trace(s1) + torch.trace(s2) - 2 * roots)


def score(logits, splits):
    p = torch.softmax(logits, 1)
    parts = []
    n = p.shape[0]
    for i in range(splits):
        part = p[i * n // splits : (i + 1) * n // splits]
        marginal = part.mean(0, keepdim=True)
        parts.append(float(torch.exp((part * (part.log() - marginal.log())).sum(1).mean())))
    return [float(numpy.mean(parts)), float(numpy.std(parts))]


asked = json.load(sys.stdin)
answer = {}
if "pairs" in asked:
    answer["frechet"] = [frechet(array(a), array(b)) for a, b in asked["pairs"]]
if "symmetric" in asked:
    answer["eigenvalues"] = torch.linalg.eigvalsh(array(asked["symmetric"])).tolist()
if "logits" in asked:
    answer["score"] = score(array(asked["logits"]), 10)
json.dump(answer, sys.stdout)
