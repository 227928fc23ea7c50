"""AutoAttack's standard version in PyTorch, written from the papers alone: the peer of `isoerg evaluate --attacks standard`.

Shares nothing with src/attack: gradients by autograd, torch's own random numbers, projections by sorting, Square with one place for
the whole batch as in the published program. Reads a model that `isoerg export` wrote and a data set that `isoerg data prepare`
wrote. Losses, step rules and schedules follow Croce & Hein 2020 (arXiv 2003.01690 and 1907.02044) and Andriushchenko et al. 2020.

    autoattack.py MODEL.safetensors DATA --samples 1000 --eps 8/255 [--norm linf] [--json FILE]

`autoattack.py --stdin` takes {config, tensors, images, labels, eps, norm, steps, queries, targets} instead, for tests.
"""

import argparse
import base64
import json
import math
import os
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

# ---- the model: an exported network in NCHW ----


def read_safetensors(path):
    with open(path, "rb") as file:
        raw = file.read()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        piece = bytearray(raw[8 + size + begin : 8 + size + end])
        tensors[name] = torch.frombuffer(piece, dtype=torch.float32).reshape(entry["shape"])
    return tensors, metadata


def activation_of(config):
    kind = config["kind"]
    if kind == "leaky-relu":
        return lambda x: F.leaky_relu(x, config["slope"])
    if kind == "softplus":
        return lambda x: F.softplus(x, beta=config["sharpness"], threshold=1e9)
    return {"relu": F.relu, "silu": F.silu, "gelu": F.gelu, "elu": F.elu}[kind]


def build(config, tensors):
    """A function from images [n,C,H,W] in [0,1] to logits."""
    if config["kind"] not in ("convnet", "mlp"):
        raise SystemExit(f"no peer for a {config['kind']}")
    act = activation_of(config["activation"])
    mean = torch.tensor(config["input"]["mean"]).reshape(1, -1, 1, 1)
    std = torch.tensor(config["input"]["std"]).reshape(1, -1, 1, 1)
    weight = {name: t.permute(3, 2, 0, 1).contiguous() if t.dim() == 4 else t for name, t in tensors.items()}

    def convnet(x):
        for i, stage in enumerate(config["stages"], 1):
            kernel = weight[f"conv{i}.weight"]
            x = F.conv2d(x, kernel, weight.get(f"conv{i}.bias"), stride=stage["stride"], padding=kernel.shape[-1] // 2)
            if config["norm"]["kind"] == "group":
                x = F.group_norm(x, config["norm"]["groups"], weight[f"norm{i}.weight"], weight[f"norm{i}.bias"], 1e-5)
            x = act(x)
        return x.mean((2, 3)) @ weight["head.weight"] + weight["head.bias"]

    def mlp(x):
        x = x.permute(0, 2, 3, 1).flatten(1)
        for i in range(1, len(config["hidden"]) + 1):
            x = act(x @ weight[f"linear{i}.weight"] + weight[f"linear{i}.bias"])
        return x @ weight["head.weight"] + weight["head.bias"]

    body = convnet if config["kind"] == "convnet" else mlp
    return lambda x: body((x - mean) / std)


def read_data(folder, count):
    manifest = json.load(open(os.path.join(folder, "manifest.json")))
    h, w, c = (manifest["shape"][key] for key in ("height", "width", "channels"))
    records = b"".join(open(os.path.join(folder, s["file"]), "rb").read() for s in manifest["splits"]["test"]["shards"])
    rows = torch.frombuffer(bytearray(records), dtype=torch.uint8).reshape(-1, 2 + h * w * c)[:count]
    labels = rows[:, 0].long() + 256 * rows[:, 1].long()
    images = rows[:, 2:].reshape(-1, h, w, c).permute(0, 3, 1, 2).float() / 255
    return images.contiguous(), labels


# ---- what all attacks share ----


def per_sample(values):
    return values.reshape(-1, 1, 1, 1)


def size_of(delta, norm):
    flat = delta.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


def direction_of(delta, norm):
    """What a step follows: signs in Linf, the unit vector in L2."""
    return delta.sign() if norm == "linf" else delta / (per_sample(size_of(delta, "l2")) + 1e-12)


def into_ball(point, centre, eps, norm):
    if norm == "linf":
        return torch.minimum(torch.maximum(point, centre - eps), centre + eps).clamp(0, 1)
    delta = point - centre
    return (centre + delta * (eps / (per_sample(size_of(delta, norm)) + 1e-12)).clamp(max=1)).clamp(0, 1)


def cross_entropy(logits, labels, _targets):
    return F.cross_entropy(logits, labels, reduction="none")


def targeted_dlr(logits, labels, targets):
    order = logits.sort(dim=1).values
    rows = torch.arange(len(labels))
    scale = order[:, -1] - 0.5 * (order[:, -3] + order[:, -4]) + 1e-12
    return -(logits[rows, labels] - logits[rows, targets]) / scale


def value_and_slope(model, x, loss):
    x = x.detach().requires_grad_()
    logits = model(x)
    values = loss(logits)
    (slope,) = torch.autograd.grad(values.sum(), x)
    return values.detach(), slope, logits.detach()


# ---- Auto-PGD ----


def apgd(model, x, labels, targets, eps, norm, steps, loss_of):
    """Which samples were misclassified somewhere on the path."""
    n = len(x)
    loss = lambda logits: loss_of(logits, labels, targets)
    noise = torch.rand_like(x) * 2 - 1 if norm == "linf" else torch.randn_like(x)
    now = (x + eps * noise / per_sample(size_of(noise, norm))).clamp(0, 1)
    before = now.clone()
    value, slope, logits = value_and_slope(model, now, loss)
    fooled = logits.argmax(1) != labels
    best, best_slope, best_value = now.clone(), slope.clone(), value.clone()
    step = torch.full((n,), 2.0 * eps)
    history = [value]
    interval, least, shorter = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    since, value_at_check, halved_at_check = 0, best_value.clone(), torch.ones(n, dtype=torch.bool)
    for k in range(steps):
        share = 0.75 if k > 0 else 1.0
        moved = into_ball(now + per_sample(step) * direction_of(slope, norm), x, eps, norm)
        after = into_ball(now + share * (moved - now) + (1 - share) * (now - before), x, eps, norm)
        before, now = now, after
        value, slope, logits = value_and_slope(model, now, loss)
        fooled |= logits.argmax(1) != labels
        history.append(value)
        better = value > best_value
        best[better], best_slope[better], best_value[better] = now[better], slope[better], value[better]
        since += 1
        if since < interval:
            continue
        recent = torch.stack(history[-since - 1 :])
        rises = (recent[1:] > recent[:-1]).sum(0)
        halve = (rises <= 0.75 * since) | (~halved_at_check & (value_at_check >= best_value))
        step[halve] /= 2
        now = torch.where(per_sample(halve), best, now)
        slope = torch.where(per_sample(halve), best_slope, slope)
        halved_at_check, value_at_check = halve, best_value.clone()
        since, interval = 0, max(interval - shorter, least)
    return fooled


# ---- FAB-T ----


def onto_hyperplane(point, normal, excess, norm):
    """The least step d [n,D] with normal . d = -excess that keeps point + d in [0,1], by sorting where coordinates run out of room."""
    towards = torch.where(per_row(excess) >= 0, -normal, normal)  # the direction that makes |excess| smaller
    weight = normal.abs()
    room = torch.where(towards > 0, 1 - point, point)
    room = torch.where(weight > 0, room, torch.zeros_like(room))
    speed = torch.ones_like(weight) if norm == "linf" else weight
    runs_out = torch.where(weight > 0, room / speed.clamp(min=1e-300), torch.zeros_like(room))
    times, order = runs_out.sort(dim=1)
    w, s, r = (t.gather(1, order) for t in (weight, speed, room))
    full = (w * r).cumsum(1)  # gained by the coordinates that have run out
    rate = (w * s).flip(1).cumsum(1).flip(1)  # of this coordinate and all that run out later
    gained = full - w * r + rate * times  # when coordinate k runs out
    wanted = excess.abs()
    index = torch.searchsorted(gained.cummax(1).values.contiguous(), per_row(wanted)).clamp(max=w.shape[1] - 1)
    base = (full - w * r).gather(1, index)
    time = ((per_row(wanted) - base) / rate.gather(1, index).clamp(min=1e-300)).clamp(min=0)
    time = torch.where(per_row(wanted) > full[:, -1:], torch.full_like(time, math.inf), time)
    return towards.sign() * torch.minimum(torch.nan_to_num(time * speed, posinf=math.inf, nan=0.0), room)


def per_row(values):
    return values.reshape(-1, 1)


def fab(model, x, labels, targets, norm, steps):
    """The distance to the nearest misclassified point that was found; infinite where there was none."""
    n = len(x)
    rows = torch.arange(n)
    now = x.clone()
    found = torch.full((n,), math.inf, dtype=torch.float64)
    clean = x.flatten(1).double()
    for _ in range(steps):
        difference, slope, _logits = value_and_slope(model, now, lambda z: z[rows, targets] - z[rows, labels])
        normal = slope.flatten(1).double()
        here = now.flatten(1).double()
        excess = difference.double()
        excess_clean = excess + (normal * (clean - here)).sum(1)
        d_here = onto_hyperplane(here, normal, excess, norm)
        d_clean = onto_hyperplane(clean, normal, excess_clean, norm)
        near, far = size_of(d_here, norm).clamp(min=1e-8), size_of(d_clean, norm).clamp(min=1e-8)
        bias = per_row((near / (near + far)).clamp(max=0.1))
        mixed = (1 - bias) * (here + 1.05 * d_here) + bias * (clean + 1.05 * d_clean)
        now = mixed.clamp(0, 1).to(x.dtype).reshape(x.shape)
        with torch.no_grad():
            wrong = model(now).argmax(1) != labels
        distance = size_of((now.double() - x.double()), norm)
        found = torch.where(wrong & (distance < found), distance, found)
        now = torch.where(per_sample(wrong), x + 0.9 * (now - x), now)
    return found


# ---- Square ----


def covered(query):
    return 0.8 / 2 ** sum(query > bound for bound in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000))


def margin(model, x, labels):
    with torch.no_grad():
        logits = model(x)
    own = logits.gather(1, labels[:, None])[:, 0]
    rest = logits.scatter(1, labels[:, None], -math.inf).amax(1)
    return own - rest


def coins(*shape):
    return torch.randint(0, 2, shape).float() * 2 - 1


def pyramid(side):
    def half(height, width):
        values = torch.zeros(height, width)
        for ring in range(max(height // 2, width // 2) + 1):
            top, left = max(0, height // 2 - ring), max(0, width // 2 - ring)
            values[top : height // 2 + ring + 1, left : width // 2 + ring + 1] += 1 / (ring + 1) ** 2
        return values / values.norm() if values.numel() else values

    both = torch.cat([half(side // 2, side), -half(side - side // 2, side)])
    both = both / both.norm()
    return both.t() if torch.rand(()) > 0.5 else both


def square(model, x, labels, eps, norm, queries):
    n, c, h, w = x.shape
    if norm == "linf":
        best = (x + eps * coins(n, c, 1, w)).clamp(0, 1)
    else:
        tile = max(1, h // 5)
        delta = torch.zeros_like(x)
        top = (h - h // tile * tile) // 2
        for i in range(h // tile):
            for j in range(w // tile):
                place = (..., slice(top + i * tile, top + (i + 1) * tile), slice(top + j * tile, top + (j + 1) * tile))
                delta[place] = pyramid(tile) * coins(n, c, 1, 1)
        best = (x + eps * direction_of(delta, "l2")).clamp(0, 1)
    lowest = margin(model, best, labels)
    for query in range(queries):
        left = (lowest > 0).nonzero()[:, 0]
        if len(left) == 0:
            break
        centre, point = x[left], best[left].clone()
        area = covered(query) * h * w
        if norm == "linf":
            side = max(1, round(math.sqrt(area)))
            i, j = (int(torch.randint(0, length - side + 1, ())) for length in (h, w))
            point[:, :, i : i + side, j : j + side] += 2 * eps * coins(c, 1, 1)
            point = into_ball(point, centre, eps, norm)
        else:
            side = max(3, round(math.sqrt(area)))
            side = min(side + (side % 2 == 0), h, w)
            i, j, gi, gj = (int(torch.randint(0, length - side + 1, ())) for length in (h, w, h, w))
            delta = point - centre
            mask = torch.zeros(1, 1, h, w)
            mask[..., i : i + side, j : j + side] = 1
            mask[..., gi : gi + side, gj : gj + side] = 1
            unused = (eps**2 - size_of(delta, "l2") ** 2).clamp(min=0)
            held = (delta * mask).pow(2).sum((2, 3), keepdim=True)
            window = delta[:, :, i : i + side, j : j + side]
            fresh = pyramid(side) * coins(len(left), c, 1, 1) + window / (window.pow(2).sum((2, 3), keepdim=True).sqrt() + 1e-12)
            fresh = fresh / (fresh.pow(2).sum((2, 3), keepdim=True).sqrt() + 1e-12) * (per_sample(unused) / c + held).sqrt()
            delta[:, :, gi : gi + side, gj : gj + side] = 0
            delta[:, :, i : i + side, j : j + side] = fresh
            point = (centre + eps * direction_of(delta, "l2")).clamp(0, 1)
        value = margin(model, point, labels[left])
        keep = (value < lowest[left]) | (value <= 0)
        lowest[left[keep]], best[left[keep]] = value[keep], point[keep]
    return lowest <= 0


# ---- the ensemble ----


def autoattack(model, images, labels, norm, eps, steps, queries, num_targets, batch, report=lambda name, seconds, standing: None):
    """Standing samples after each attack, in order."""
    with torch.no_grad():
        clean = torch.cat([model(part) for part in images.split(batch)])
    standing = clean.argmax(1) == labels
    ranking = clean.sort(dim=1, descending=True).indices
    after = {"clean": standing.clone()}
    ranks = range(1, min(num_targets, clean.shape[1] - 1) + 1)

    def each_batch(attack):
        for rows in standing.nonzero()[:, 0].split(batch):
            fooled = attack(images[rows], labels[rows], rows)
            standing[rows[fooled]] = False

    def run(name, attack, targeted):
        began = time.time()
        if targeted:
            for rank in ranks:
                each_batch(lambda x, y, rows: attack(x, y, ranking[rows, rank]))
        else:
            each_batch(lambda x, y, rows: attack(x, y, None))
        after[name] = standing.clone()
        report(name, time.time() - began, standing)

    run("apgd-ce", lambda x, y, t: apgd(model, x, y, t, eps, norm, steps, cross_entropy), False)
    run("apgd-t", lambda x, y, t: apgd(model, x, y, t, eps, norm, steps, targeted_dlr), True)
    run("fab-t", lambda x, y, t: fab(model, x, y, t, norm, steps) <= eps, True)
    run("square", lambda x, y, t: square(model, x, y, eps, norm, queries), False)
    return after


def digits(standing):
    return "".join("1" if stands else "0" for stands in standing)


def answer(question):
    """For tests: the whole ensemble, and FAB's distances to the likeliest rival, on a few images."""

    def decode(text):
        return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.float32)

    tensors = {p["name"]: decode(p["data"]).reshape(p["shape"]) for p in question["tensors"]}
    model = build(question["config"], tensors)
    labels = torch.tensor(question["labels"])
    images = decode(question["images"]).reshape(question["shape"]).permute(0, 3, 1, 2).contiguous()
    found = []
    for ball in question["balls"]:
        torch.manual_seed(ball.get("seed", 0))
        after = autoattack(model, images, labels, ball["norm"], ball["eps"], ball["steps"], ball["queries"], ball["targets"], len(labels))
        with torch.no_grad():
            rival = model(images).sort(dim=1, descending=True).indices[:, 1]
        right = after["clean"].nonzero()[:, 0]
        distance = fab(model, images[right], labels[right], rival[right], ball["norm"], ball["steps"])
        alone = square(model, images, labels, ball["eps"], ball["norm"], ball["queries"])
        found.append(
            {
                "after": {name: digits(s) for name, s in after.items()},
                "fab": [d if math.isfinite(d) else -1 for d in distance.tolist()],
                "square": digits(~alone),
            }
        )
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--eps", default="8/255")
    parser.add_argument("--norm", default="linf", choices=["linf", "l2"])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--targets", type=int, default=9)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    options = parser.parse_args()
    top, _, bottom = options.eps.partition("/")
    eps = float(top) / float(bottom or 1)
    tensors, metadata = read_safetensors(options.model)
    model = build(json.loads(metadata["model"]), tensors)
    images, labels = read_data(options.data, options.samples)
    torch.manual_seed(options.seed)

    def report(name, seconds, standing):
        print(f"{name:8} {100 * standing.float().mean().item():6.2f} % stand  {seconds:7.1f} s", file=sys.stderr, flush=True)

    began = time.time()
    after = autoattack(model, images, labels, options.norm, eps, options.steps, options.queries, options.targets, options.batch, report)
    result = {
        "norm": options.norm,
        "eps": eps,
        "samples": len(labels),
        "accuracy": {name: standing.float().mean().item() for name, standing in after.items()},
        "perSample": {name: digits(standing) for name, standing in after.items()},
        "seconds": time.time() - began,
    }
    text = json.dumps(result)
    if options.json:
        with open(options.json, "w") as file:
            file.write(text + "\n")
    print(json.dumps(result["accuracy"]))


if __name__ == "__main__":
    if sys.argv[1:] == ["--stdin"]:
        json.dump(answer(json.load(sys.stdin)), sys.stdout)
    else:
        main()
