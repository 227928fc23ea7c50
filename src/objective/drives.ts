/** The state of all weights that measured gaps drive: told of every step, saved with the checkpoint. */
import type { StatePart } from "../checkpoint/state-part.js";
import type { ObjectiveConfig } from "../config/schema.js";
import { IsoergError } from "../util/error.js";
import { TERM_NAMES, type TermName } from "./terms.js";
import { type Drive, nextDrive, RESTING } from "./weight.js";

const PREFIX = "drive.";

export type DrivesState = ReadonlyMap<TermName, Drive>;

export class Drives {
  readonly #settings: ObjectiveConfig;
  readonly #drives = new Map<TermName, Drive>();

  constructor(settings: ObjectiveConfig) {
    this.#settings = settings;
    for (const name of TERM_NAMES) if (settings[name].driven && settings[name].value > 0) this.#drives.set(name, RESTING);
  }

  /** What the scheduled weight of a term is multiplied with. */
  readonly factor = (name: TermName): number => this.#drives.get(name)?.factor ?? 1;

  /** Takes a step's figures over the global batch; one without a gap leaves what that drives as it is. Returns the state before it, for `goBack`. */
  observe(figures: Readonly<Record<string, number>>): DrivesState {
    const before = new Map(this.#drives);
    for (const [name, drive] of this.#drives) {
      const { value, driven } = this.#settings[name];
      const gap = driven && figures[driven.by];
      if (typeof gap === "number" && driven) this.#drives.set(name, nextDrive(drive, gap, { value, driven }));
    }
    return before;
  }

  /** Takes the last `observe` back: its step did not commit. */
  goBack(before: DrivesState): void {
    for (const [name, drive] of before) this.#drives.set(name, drive);
  }

  save(): StatePart[] {
    return [...this.#drives].map(([name, { factor, gap }]) => ({
      file: "optimizer",
      tensor: PREFIX + name,
      dtype: "F32",
      shape: [2],
      row: 0,
      data: Float32Array.of(factor, gap),
    }));
  }

  /** Throws IsoergError CHECKPOINT where a driven weight has no state. */
  restore(parts: readonly StatePart[]): void {
    for (const name of this.#drives.keys()) {
      const part = parts.find(({ file, tensor }) => file === "optimizer" && tensor === PREFIX + name);
      if (part?.data.length !== 2) {
        throw new IsoergError("CHECKPOINT", `the checkpoint has no state of the weight of '${name}', which a gap drives`, {
          hint: `it was written by a run without objective.${name}.driven; use the configuration of that run`,
        });
      }
      this.#drives.set(name, { factor: part.data[0] as number, gap: part.data[1] as number });
    }
  }
}

/** Whether a part of a checkpoint's `optimizer` file is a drive's. */
export function isDrive({ file, tensor }: Pick<StatePart, "file" | "tensor">): boolean {
  return file === "optimizer" && tensor.startsWith(PREFIX);
}
