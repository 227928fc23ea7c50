/**
 * What the training thread does: starts the tensor engine, asks what the run is about, and trains until the link says stop. It
 * owns no socket, so the process may end it at any time.
 */
import { requireHostMemory } from "../collective/host-memory.js";
import { adjustConfig, NO_ADJUSTMENT } from "../config/adjustment.js";
import type { Config } from "../config/schema.js";
import { decodeClassGaussians } from "../data/class-gaussians.js";
import { parseManifest } from "../data/manifest.js";
import { startEngine } from "../engine/choose.js";
import type { EngineOptions } from "../engine/engine.js";
import type { Link, Turn } from "../train/link.js";
import { train } from "../train/loop.js";
import { IsoergError } from "../util/error.js";
import { BlockingEnd, type ChannelEnds } from "./channel.js";
import { HostSums } from "./host-sums.js";
import { Pulse } from "./pulse.js";
import { ask, createThreadLink } from "./thread-link.js";
import type { FromLink, ToLink } from "./thread-messages.js";

/** What a training thread gets as its workerData. */
export interface TrainingThreadData {
  readonly channel: ChannelEnds;
  readonly engine: EngineOptions;
  /** Of a `Pulse`. */
  readonly pulse: SharedArrayBuffer;
  /** The process's arena and the library that gives it; null where vectors are in memory of their own. */
  readonly shared: { readonly path: string; readonly arena: number } | null;
  /** A timeline to be written, and what it is called. */
  readonly trace?: { readonly path: string; readonly name: string } | undefined;
  /** For programs other than `training-thread.ts`. */
  readonly programData?: unknown;
}

/** @param wrap stands between the loop and its link: where a test injects its faults */
export async function serveTraining(data: TrainingThreadData, wrap: (link: Link) => Link = (link) => link): Promise<void> {
  const end = new BlockingEnd<ToLink, FromLink>(data.channel);
  const pulse = new Pulse(data.pulse);
  try {
    const engine = await startEngine(data.engine);
    const threads = `${engine.threads} thread${engine.threads === 1 ? "" : "s"}`;
    end.post({ kind: "started", engine: `${engine.name} (${engine.version}), ${engine.device}, ${threads}` });
    const { briefing } = ask(end, { kind: "briefing" }, "briefing");
    if (briefing === null) return;
    const config = JSON.parse(briefing.configJson) as Config; // the coordinator's own, checked there
    const manifest = parseManifest(briefing.manifestJson, "the coordinator's manifest");
    const { shape, classes, classGaussians, splits } = manifest;
    const numSamples = Math.min(config.data.subset ?? splits.train.numSamples, splits.train.numSamples);
    const gaussians =
      briefing.gaussians && decodeClassGaussians(briefing.gaussians, { shape, numClasses: classes.length, ...classGaussians });
    const hostSums = data.shared && new HostSums(requireHostMemory(data.shared.path), data.shared.arena);
    let beginning: Extract<Turn, { kind: "generation" }> | null = null;
    let adjustment = NO_ADJUSTMENT;
    do {
      const link = createThreadLink(end, { pulse, first: beginning, adjustment, hostSums });
      const adjusted = adjustConfig(config, adjustment);
      const shapes = { shape, numClasses: classes.length, numSamples };
      train({ config: adjusted, data: shapes, gaussians, link: wrap(link), salt: adjustment.salt });
      beginning = link.newBeginning();
      adjustment = beginning?.assignment.adjustment ?? adjustment;
    } while (beginning !== null);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const { hint, code } = error instanceof IsoergError ? error : { hint: undefined, code: "ENGINE" };
    end.post({ kind: "failed", reason, hint, code });
  } finally {
    end.close();
  }
}
