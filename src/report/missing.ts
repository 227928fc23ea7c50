/** What a report could show and a run's folder does not hold, each with the command that would fill it. */
import { type Html, html, NOTHING } from "./html.js";
import type { RunRecord } from "./run-record.js";

interface Part {
  readonly what: string;
  readonly command: string;
  readonly isThere: (record: RunRecord) => boolean;
}

const PARTS: readonly Part[] = [
  { what: "accuracy, robustness and energies", command: "isoerg evaluate RUN", isThere: ({ evaluation }) => evaluation !== undefined },
  { what: "training curves", command: "isoerg train", isThere: ({ steps }) => steps.length >= 2 },
  {
    what: "confusion matrices",
    command: "isoerg evaluate RUN",
    isThere: ({ evaluation }) => evaluation?.trained.decisions !== undefined,
  },
  {
    what: "AutoAttack",
    command: "isoerg evaluate RUN --attacks standard",
    isThere: ({ evaluation }) => (evaluation?.robustness?.attacks.length ?? 0) > 0,
  },
  {
    what: "the checklist against gradient masking, and accuracy against the budget",
    command: "isoerg evaluate RUN --attacks standard --probes 200",
    isThere: ({ evaluation }) => evaluation?.robustness?.checklist != null,
  },
  {
    what: "certified accuracy",
    command: "isoerg evaluate RUN --certify 0.25",
    isThere: ({ evaluation }) => evaluation?.robustness?.certification != null,
  },
  {
    what: "energies of every kind of image, unknown images, calibration",
    command: "isoerg analyze RUN",
    isThere: ({ analysis }) => analysis !== undefined,
  },
  {
    what: "quality of generated images",
    command: "isoerg analyze RUN --generated 500",
    isThere: ({ analysis }) => analysis?.quality != null,
  },
  { what: "generated samples", command: "isoerg evaluate RUN", isThere: ({ samples }) => samples !== undefined },
];

export function missingSection(records: readonly RunRecord[], hasCosts: boolean): Html {
  const lines = PARTS.flatMap(({ what, command, isThere }) => {
    const without = records.filter((record) => !isThere(record)).map(({ name }) => name);
    if (without.length === 0) return [];
    const whose = records.length === 1 ? "" : ` of ${without.join(", ")}`;
    return [
      html`<li>${what}${whose}: <code>${command}</code></li>
`,
    ];
  });
  if (!hasCosts)
    lines.push(html`<li>what it costs: <code>isoerg report RUN --costs costs.yaml</code></li>
`);
  if (lines.length === 0) return NOTHING;
  return html`<section><h2>Not in this report</h2><p>Nothing of this was measured yet; the command beside it would.</p><ul>
${lines}</ul></section>`;
}
