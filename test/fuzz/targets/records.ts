/** Files that a run leaves and a later command reads: journals, evaluations, analyses, references. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { auditJournal } from "../../../src/coordinator/audit.js";
import { alarmsOf, condemnedCheckpoints } from "../../../src/coordinator/guarding.js";
import { readJournal } from "../../../src/coordinator/journal.js";
import { historyOf } from "../../../src/coordinator/standing.js";
import { ANALYSIS_FILE, readAnalysis } from "../../../src/evaluate/analysis/analysis.js";
import { parseEvaluation } from "../../../src/evaluate/evaluation.js";
import { readReference } from "../../../src/evaluate/monitor/reference.js";
import { renderModelCard } from "../../../src/report/model-card.js";
import { renderReport } from "../../../src/report/report.js";
import type { RunRecord } from "../../../src/report/run-record.js";
import { openStudy } from "../../../src/sweep/journal.js";
import { packageRoot } from "../../../src/util/package.js";
import { analysisOf } from "../../kit/report-full.js";
import { smallConfig } from "../../kit/small-run.js";
import type { Target } from "../fuzz.js";

const time = "2026-01-01T00:00:00.000Z";
const writing = { now: new Date(time), isoergVersion: "0.1.0" };
const adjustment = { salt: 1, lrFactor: 0.5, samplerStepsFactor: 2, attackStepsFactor: 1, energyL2: 0 };
const journal = [
  { event: "start", runId: "r", config: "c", dataset: "d", numSteps: 9, step: 0, term: 1, reason: "a new run" },
  { event: "join", worker: "a", incarnation: "a1", engine: "cpu" },
  { event: "generation", generation: 1, step: 0, workers: ["a"], members: ["a1"], restore: "fresh", reason: "all are here" },
  { event: "commit", generation: 1, step: 0, samples: 4, ids: "00c0ffee", checksum: "00112233445566ff" },
  { event: "checkpoint", step: 1, path: "checkpoints/step-000001", ms: 5 },
  { event: "commit", generation: 1, step: 1, samples: 4, ids: "00c0ffee", checksum: "00112233445566ff", toldBy: "a" },
  { event: "alarm", step: 2, rule: "loss", reason: "it rose", restoredStep: 1, adjustment },
  { event: "chains", generation: 2, kept: 1, moved: 0, restored: 0, checkpointStep: null, startedAnew: 3 },
  { event: "retry", generation: 1, step: 1, reason: "a sum failed" },
  { event: "checkpointFailed", step: 2, reason: "no space" },
  { event: "checkpointDeleted", step: 1, reason: "the newest 3 are kept" },
  { event: "leave", worker: "a", incarnation: "a1", reason: "it was asked" },
  { event: "end", outcome: "finished", step: 9, reason: "all steps are done" },
];

const study = [
  { event: "study", sweep: "s", digest: "d" },
  { event: "job", index: 0, trial: 0, point: { "optimizer.lr": 0.1 }, from: 0, to: 1, copyOf: null, reason: "a new point" },
  { event: "result", index: 0, result: { kind: "value", value: 0.5, bySeed: [0.5] } },
  { event: "job", index: 1, trial: 1, point: { "optimizer.lr": 0.2 }, from: 0, to: 1, copyOf: 0, reason: "a copy" },
  { event: "result", index: 1, result: { kind: "failed", reason: "it diverged" } },
];

const reference = {
  format: "isoerg-energy-reference",
  version: 1,
  model: { name: "m", kind: "run", fingerprint: "f" },
  data: { name: "d", digest: "e", split: "test", classes: ["a", "b"], shape: { height: 2, width: 2, channels: 1 } },
  input: {},
  createdAt: time,
  isoergVersion: "0.1.0",
  energies: Array.from({ length: 20 }, (_, i) => i / 4),
  predictedShares: [0.5, 0.5],
};

/** A run that has nothing yet. */
const bareRun: Omit<RunRecord, "folder"> = {
  name: "m",
  config: smallConfig(),
  steps: [],
  evaluation: undefined,
  analysis: undefined,
  alarms: undefined,
  runId: undefined,
  configDigest: "0".repeat(64),
  environment: undefined,
  samples: undefined,
};

function lines(entries: readonly object[]): Uint8Array {
  return Buffer.from(entries.map((entry) => `${JSON.stringify({ time, ...entry })}\n`).join(""));
}

/** With shorter lists: mutations then meet every part of it. */
function shortened(record: object): string {
  return JSON.stringify(record, (_, value) => (Array.isArray(value) ? value.slice(0, 12) : value));
}

export function recordTargets(folder: string): readonly Target[] {
  const place = (name: string, file: string, bytes: Uint8Array): string => {
    const within = join(folder, name);
    mkdirSync(within, { recursive: true });
    writeFileSync(join(within, file), bytes);
    return within;
  };
  return [
    {
      name: "journal.jsonl",
      kind: "json-lines",
      refuses: ["DATA"],
      share: 6,
      seeds: () => [lines(journal), new Uint8Array(0)],
      async read(input) {
        const { lines: read } = await readJournal(place("run", "journal.jsonl", input));
        // Whatever was accepted, those who go on from a journal can read.
        const { commits } = auditJournal(read);
        for (const { step } of commits) assert(Number.isSafeInteger(step));
        const history = historyOf(read);
        assert(Number.isSafeInteger(history.step) && Number.isSafeInteger(history.generation) && Number.isSafeInteger(history.term));
        for (const { workerId, incarnation } of history.members) assert.equal(typeof workerId + typeof incarnation, "stringstring");
        for (const { restoredStep } of alarmsOf(read)) assert(Number.isSafeInteger(restoredStep));
        for (const step of condemnedCheckpoints(read)) assert(Number.isSafeInteger(step));
      },
    },
    {
      name: "study.jsonl",
      kind: "json-lines",
      refuses: ["DATA", "CONFIG"],
      share: 4,
      seeds: () => [lines(study)],
      read(input) {
        const opened = openStudy(place("study", "study.jsonl", input), { sweep: "s", digest: "d", now: () => new Date(0) });
        opened.close();
        for (const [index, job] of opened.jobs.entries()) assert.equal(job.index, index);
      },
    },
    {
      name: "evaluation.json",
      kind: "json",
      refuses: ["DATA"],
      share: 5,
      seeds() {
        // A real one.
        const path = join(packageRoot, "bench", "results", "2026-11-22-quickstart.evaluation.json");
        return [Buffer.from(shortened(JSON.parse(readFileSync(path, "utf8"))))];
      },
      read(input) {
        const evaluation = parseEvaluation(new TextDecoder().decode(input), "evaluation.json");
        assert.deepEqual(parseEvaluation(JSON.stringify(evaluation), "again"), evaluation);
      },
    },
    {
      name: "analysis.json",
      kind: "json",
      refuses: ["DATA"],
      share: 3,
      seeds: () => [Buffer.from(shortened(analysisOf({ name: "m", numSteps: 20 })))],
      async read(input) {
        const read = await readAnalysis(join(place("analysis", ANALYSIS_FILE, input), ANALYSIS_FILE));
        assert(read);
        // Whatever was accepted, a report and a model card can be made of, with every point of a chart in its place.
        const run = { ...bareRun, folder, analysis: read };
        const page = renderReport([run], writing);
        assert.equal(/ (d|x|y|cx|cy|width|height|points|transform)="[^"]*(NaN|Infinity)/.exec(page)?.[0].slice(0, 99), undefined);
        assert(renderModelCard(run, writing).length > 0);
      },
    },
    {
      name: "energy-reference.json",
      kind: "json",
      refuses: ["DATA"],
      share: 3,
      seeds: () => [Buffer.from(JSON.stringify(reference))],
      async read(input) {
        const path = join(place("reference", "energy-reference.json", input), "energy-reference.json");
        const read = await readReference(path);
        assert(read.energies.length >= 20 && read.energies.every(Number.isFinite));
      },
    },
  ];
}
