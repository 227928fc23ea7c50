/** The README's Python lines, run as they stand, load what we write: PyTorch is the oracle. Skipped where there is no PyTorch. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { encodeSafetensors, type HostTensor } from "../../src/checkpoint/safetensors.js";

const python = ["/usr/bin/python3", "python3"].find((name) => spawnSync(name, ["-c", "import torch"]).status === 0);

it.skipIf(python === undefined)("loads in PyTorch, with filters and linear weights in its layout", () => {
  const snippet = /```python\n([\s\S]*?)```/.exec(readFileSync(new URL("../../src/checkpoint/README.md", import.meta.url), "utf8"))?.[1];
  const folder = mkdtempSync(join(tmpdir(), "isoerg-pytorch-"));
  try {
    const file = join(folder, "model.safetensors");
    const ramp = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => i / 3);
    const tensors = new Map<string, HostTensor>([
      ["conv1.weight", { dtype: "F32", shape: [2, 3, 4, 5], data: ramp(120) }],
      ["head.weight", { dtype: "F32", shape: [5, 2], data: ramp(10) }],
      ["head.bias", { dtype: "F32", shape: [2], data: ramp(2) }],
      ["labels", { dtype: "U8", shape: [3], data: Uint8Array.of(9, 8, 7) }],
    ]);
    writeFileSync(file, encodeSafetensors(tensors, { step: "1" }));
    const script = `${snippet}\nprint(json.dumps({k: [list(v.shape), v.flatten().tolist()] for k, v in weights.items()}))\n`;
    const answer = JSON.parse(execFileSync(python as string, ["-c", script, file], { encoding: "utf8" })) as Record<
      string,
      [number[], number[]]
    >;

    expect(answer.labels).toEqual([[3], [9, 8, 7]]);
    expect(answer["head.bias"]).toEqual([[2], [...ramp(2)]]);
    expect(answer["head.weight"]?.[0]).toEqual([2, 5]);
    expect(answer["head.weight"]?.[1][1]).toBe(ramp(10)[2]); // [out 0, in 1] is our [in 1, out 0]
    const [shape, values] = answer["conv1.weight"] ?? [[], []];
    expect(shape).toEqual([5, 4, 2, 3]);
    // [cout 4, cin 2, kh 1, kw 0] is our [kh 1, kw 0, cin 2, cout 4].
    expect(values[((4 * 4 + 2) * 2 + 1) * 3 + 0]).toBe(ramp(120)[((1 * 3 + 0) * 4 + 2) * 5 + 4]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
