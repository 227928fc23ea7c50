/**
 * A run's status as Prometheus reads it: text exposition format 0.0.4, one family after the other, each with its help and type.
 * Only the text is made here; whoever serves it chooses the port.
 */
import type { RunStatus } from "../wire/messages.js";

export const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export interface Family {
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly help: string;
  readonly samples: readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number }[];
}

const STATES: readonly RunStatus["state"][] = ["waiting", "training", "stopping", "finished", "stopped", "failed"];

export function prometheusText(status: RunStatus): string {
  const run = { run: status.name, run_id: status.runId };
  const one = (name: string, type: Family["type"], help: string, value: number): Family => ({
    name,
    type,
    help,
    samples: [{ labels: run, value }],
  });
  const perMember = (name: string, help: string, value: (member: RunStatus["members"][number]) => number): Family => ({
    name,
    type: "gauge",
    help,
    samples: status.members.map((member) => ({
      labels: { ...run, worker: member.workerId, rank: String(member.rank) },
      value: value(member),
    })),
  });
  const families: Family[] = [
    {
      name: "isoerg_run_state",
      type: "gauge",
      help: "1 for the state that the run is in.",
      samples: STATES.map((state) => ({ labels: { ...run, state }, value: state === status.state ? 1 : 0 })),
    },
    // Gauges: after the loss of a checkpoint a run takes steps back, which a counter may not.
    one("isoerg_step", "gauge", "Committed training steps.", status.step),
    one("isoerg_steps_planned", "gauge", "Steps of the whole training.", status.numSteps),
    one("isoerg_epoch", "gauge", "Passes over the training data.", status.epoch),
    one("isoerg_generation", "gauge", "Periods of unchanged membership so far.", status.generation),
    one("isoerg_samples_per_second", "gauge", "Clean training samples each second, over all workers.", status.samplesPerSecond),
    one("isoerg_eta_seconds", "gauge", "Time that is left.", status.etaSeconds),
    one("isoerg_workers", "gauge", "Workers that are members now.", status.members.length),
    {
      name: "isoerg_metric",
      type: "gauge",
      help: "Figures of the last committed step, over the global batch.",
      samples: Object.entries(status.metrics).map(([metric, value]) => ({ labels: { ...run, metric }, value })),
    },
    perMember("isoerg_worker_step", "The step that a worker is at.", (member) => member.step),
    perMember("isoerg_worker_step_seconds", "Time of a worker's last step.", (member) => member.stepMs / 1000),
  ];
  return families
    .filter(({ samples }) => samples.length > 0)
    .map(describeFamily)
    .join("");
}

/** One family as text. */
export function describeFamily({ name, type, help, samples }: Family): string {
  const lines = samples.map(({ labels, value }) => {
    const inside = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
    return `${name}{${inside.join(",")}} ${numberOf(value)}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

function escapeLabel(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function numberOf(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  return Number.isFinite(value) ? String(value) : value > 0 ? "+Inf" : "-Inf";
}
