/**
 * What the stability guard leaves when it gives a run up: RUN/post-mortem/, for people who want to know why and what to change.
 *
 *   README.md       the reason, the alarms with what each changed, what to try
 *   figures.jsonl   the last readings, one step a line, the latest last
 *   alarms.json     every alarm of the run, and the last judgement
 *   config.json     the configuration as it was at the end, interventions included
 *   chains.json     age, brightness and saturation of each chain in the newest checkpoint's replay buffer
 *   chains.png      the same chains as a grid, where pictures can be drawn
 *
 * Energies of single chains need the network: `isoerg evaluate RUN` gives them. Their means and sizes, step by step, are in figures.jsonl.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { HostTensor } from "../checkpoint/safetensors.js";
import type { CheckpointStore } from "../checkpoint/store.js";
import { adjustConfig, describeAdjustment } from "../config/adjustment.js";
import type { Config } from "../config/schema.js";
import type { Alarm, Guarding } from "./guarding.js";

/** Draws chains [n,H,W,C] in [0,1] as one picture; null for samples that are no pictures. */
export type DrawGrid = (images: { shape: readonly [number, number, number]; numImages: number; data: Float32Array }) => Uint8Array | null;

export interface PostMortemInput {
  readonly runFolder: string;
  readonly config: Config;
  readonly guard: Guarding;
  readonly alarm: Extract<Alarm, { kind: "stop" }>;
  readonly store: CheckpointStore;
  readonly drawGrid?: DrawGrid | undefined;
}

/** Most chains that are described and drawn. */
const MAX_CHAINS = 100;

/** @returns the folder */
export async function writePostMortem({ runFolder, config, guard, alarm, store, drawGrid }: PostMortemInput): Promise<string> {
  const folder = join(runFolder, "post-mortem");
  await mkdir(folder, { recursive: true });
  const write = (name: string, content: string | Uint8Array): Promise<void> => writeFile(join(folder, name), content);
  await write("figures.jsonl", guard.history.map((reading) => `${JSON.stringify(reading)}\n`).join(""));
  await write("alarms.json", `${JSON.stringify({ last: alarm, alarms: guard.alarms }, null, 1)}\n`);
  await write("config.json", `${JSON.stringify(adjustConfig(config, guard.adjustment), null, 1)}\n`);
  const newest = await store.load("latest").catch(() => null);
  const chains = newest && chainsOf(newest.files.buffer);
  if (chains) {
    await write("chains.json", `${JSON.stringify({ checkpointStep: newest.step, chains: describeChains(chains) }, null, 1)}\n`);
    const picture = drawGrid?.({ shape: chains.shape, numImages: chains.ages.length, data: chains.data });
    if (picture) await write("chains.png", picture);
  }
  await write("README.md", report({ config, guard, alarm, chainsOfStep: chains ? newest.step : null }));
  return folder;
}

interface Chains {
  readonly shape: readonly [number, number, number];
  readonly ages: readonly number[];
  /** [n*H*W*C] */
  readonly data: Float32Array;
}

/** The oldest chains of a buffer: those that were under way when things went wrong. */
function chainsOf(buffer: ReadonlyMap<string, HostTensor>): Chains | null {
  const images = buffer.get("chains");
  const ages = buffer.get("ages");
  if (!(images?.data instanceof Float32Array) || !(ages?.data instanceof Int32Array)) return null;
  const shape = images.shape.slice(2) as unknown as Chains["shape"]; // [positions, slots, H, W, C]
  const size = shape.reduce((product, length) => product * length, 1);
  const slots = Array.from(ages.data, (age, slot) => ({ age, slot }))
    .filter(({ age }) => age > 0)
    .sort((a, b) => b.age - a.age)
    .slice(0, MAX_CHAINS);
  if (slots.length === 0) return null;
  const data = new Float32Array(slots.length * size);
  for (const [i, { slot }] of slots.entries()) data.set(images.data.subarray(slot * size, (slot + 1) * size), i * size);
  return { shape, ages: slots.map(({ age }) => age), data };
}

function describeChains({ ages, data }: Chains): { age: number; mean: number; std: number; saturated: number }[] {
  const size = data.length / ages.length;
  return ages.map((age, i) => {
    const pixels = data.subarray(i * size, (i + 1) * size);
    const mean = pixels.reduce((sum, value) => sum + value, 0) / size;
    const std = Math.sqrt(pixels.reduce((sum, value) => sum + (value - mean) ** 2, 0) / size);
    return { age, mean, std, saturated: pixels.reduce((count, value) => count + (value <= 0 || value >= 1 ? 1 : 0), 0) / size };
  });
}

function report({
  config,
  guard,
  alarm,
  chainsOfStep,
}: Pick<PostMortemInput, "config" | "guard" | "alarm"> & { chainsOfStep: number | null }): string {
  const last = guard.history.filter(({ fault }) => fault === undefined).slice(-10);
  const names = [...new Set(last.flatMap(({ figures }) => Object.keys(figures)))].filter((name) =>
    /^(loss|energy\/|guard\/|gradient-norm|accuracy\/)/.test(name),
  );
  const rows = last.map(({ step, figures }) => `| ${step} | ${names.map((name) => show(figures[name])).join(" | ")} |`);
  const alarms = guard.alarms.map(
    ({ reason, restoredStep, adjustment }, i) =>
      `${i + 1}. ${reason}. Back to step ${restoredStep}; then ${describeAdjustment(adjustment)}.`,
  );
  return `# Why '${config.name}' was given up

${alarm.reason}.

Try ${alarm.tryThis}; start with what the guard had come to: config.json.

## Alarms before

${alarms.length > 0 ? alarms.join("\n") : "None."}

## The last steps

| step | ${names.join(" | ")} |
| --- |${" --- |".repeat(names.length)}
${rows.join("\n")}

All of them: figures.jsonl. ${chainsOfStep === null ? "No checkpoint holds chains." : `The chains of step ${chainsOfStep}: chains.json, chains.png.`}
`;
}

function show(value: number | undefined): string {
  return value === undefined ? "" : Number(value.toPrecision(4)).toString();
}
