"""All-reduce by Gloo, as PyTorch's DistributedDataParallel uses it on CPUs: the peer of `isoerg bench allreduce --peer gloo`.

Run as `gloo_allreduce.py WORLD_SIZE SECONDS SIZE_BYTES...`. One process a rank, TCP over loopback, one thread each. Prints one
line of JSON a size: the milliseconds of each sum on rank 0, taken as in bench/allreduce-rank.ts.
"""

import json
import os
import sys
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

WARMING_SUMS = 1
PROBE_SUMS = 3
FEWEST_SUMS = 3
MOST_SUMS = 2000


def sum_often(values, count, expected):
    times = []
    for i in range(-WARMING_SUMS, count):
        values.fill_(dist.get_rank() + 1)
        start = time.perf_counter()
        dist.all_reduce(values)
        if i >= 0:
            times.append(1000 * (time.perf_counter() - start))
        if values[0] != expected or values[-1] != expected:
            raise SystemExit(f"{values[0]} instead of {expected}")
    return times


def run(rank, world_size, seconds, sizes, rendezvous):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world_size, init_method=f"file://{rendezvous}")
    expected = world_size * (world_size + 1) / 2
    for size in sizes:
        values = torch.empty(size // 4)
        probe = torch.tensor(sorted(sum_often(values, PROBE_SUMS, expected))[PROBE_SUMS // 2])
        dist.broadcast(probe, 0)
        count = min(MOST_SUMS, max(FEWEST_SUMS, round(1000 * seconds / probe.item())))
        times = sum_often(values, count, expected)
        if rank == 0:
            print(json.dumps({"torch": torch.__version__, "sizeBytes": size, "timesMs": times}), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    world_size, seconds, *sizes = sys.argv[1:]
    rendezvous = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"isoerg-gloo-{os.getpid()}")
    try:
        mp.spawn(run, args=(int(world_size), float(seconds), [int(size) for size in sizes], rendezvous), nprocs=int(world_size))
    finally:
        if os.path.exists(rendezvous):
            os.remove(rendezvous)
