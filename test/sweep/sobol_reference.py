"""PyTorch's Sobol points (Joe & Kuo's direction numbers, too), for test/sweep/search.test.ts."""
import json
import sys

import torch

request = json.load(sys.stdin)
engine = torch.quasirandom.SobolEngine(request["dimensions"], scramble=False)
print(json.dumps(engine.draw(request["count"], dtype=torch.float64).tolist()))
