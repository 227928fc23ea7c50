/** A launcher at work against the API server of the tests, for the files that test it: what it says, and how its run ends. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { Cluster } from "../../src/k8s/launch/cluster.js";
import { launch } from "../../src/k8s/launch/launch.js";
import type { Manifest } from "../../src/k8s/objects.js";
import { FakeApi } from "./fake-api.js";
import { FakeControllers } from "./fake-controllers.js";
import { rendered } from "./rendered.js";

export const COORDINATOR = "quickstart-coordinator";
export const WORKERS = "quickstart-workers";

/** Of the test that runs. */
export let api: FakeApi;
export let cluster: FakeControllers;
export let kubeconfig: string;

/** A cluster of its own for every test of a file. */
export function useCluster(): void {
  beforeEach(async () => {
    api = await FakeApi.start();
    cluster = new FakeControllers(api);
    kubeconfig = join(mkdtempSync(join(tmpdir(), "isoerg-kubeconfig-")), "config");
    writeFileSync(kubeconfig, api.kubeconfig());
  });
  afterEach(() => api.close());
}

/** While nobody listens where the kubeconfig says. */
export async function withoutServer(work: () => Promise<void>): Promise<void> {
  await api.close();
  await work();
  api = await FakeApi.start();
}

export interface Launched {
  readonly lines: string[];
  readonly ended: Promise<unknown>;
  /** Settles when a line that holds the words has been said. */
  said(words: string): Promise<void>;
  stop(): void;
}

export function start(objects: readonly Manifest[] = rendered()): Launched {
  const lines: string[] = [];
  const waiting: { words: string; resolve: () => void }[] = [];
  const wish = new AbortController();
  const say = (text: string): void => {
    lines.push(text);
    for (const { words, resolve } of waiting) if (text.includes(words)) resolve();
  };
  const options = {
    cluster: new Cluster({ kubeconfig, namespace: null }),
    name: "quickstart",
    objects,
    say,
    signal: wish.signal,
    workersEndMs: 0,
  };
  return {
    lines,
    ended: launch(options).then(
      () => null,
      (error: unknown) => error,
    ),
    said: (words) =>
      lines.some((line) => line.includes(words)) ? Promise.resolve() : new Promise((resolve) => waiting.push({ words, resolve })),
    stop: () => wish.abort(),
  };
}

/** Both kinds of pod run. @returns the coordinator's */
export async function bothRun(): Promise<string> {
  const leader = await cluster.pod(COORDINATOR);
  cluster.run(leader);
  for (const index of ["0", "1"]) cluster.run(await cluster.pod(WORKERS, index));
  return leader;
}

/** Workers and coordinator end with 0, and so does the launcher. */
export async function endsWell(run: Launched, leader: string): Promise<void> {
  for (const index of ["0", "1"]) cluster.end(await cluster.pod(WORKERS, index), 0);
  cluster.end(leader, 0);
  expect(await run.ended).toBeNull();
}
