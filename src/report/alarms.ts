/** What the stability guard did in a run, from its journal. */
import type { JournalLine } from "../coordinator/journal.js";
import { formatCount } from "../evaluate/format.js";
import { type Html, html } from "./html.js";

export type AlarmLine = Extract<JournalLine, { event: "alarm" }>;

export function alarmsBlock(alarms: readonly AlarmLine[]): Html {
  if (alarms.length === 0) return html`<p>The stability guard raised no alarm.</p>`;
  return html`<div class="scroll" role="group" tabindex="0" aria-label="Alarms of the stability guard"><table class="checks"><caption>Alarms of the stability guard</caption><thead><tr><th scope="col">At step</th><th scope="col">Rule</th><th scope="col">Why</th><th scope="col">Went back to step</th></tr></thead>
<tbody>${alarms.map(
    ({ step, rule, reason, restoredStep }) =>
      html`<tr><th scope="row">${formatCount(step)}</th><td><code>${rule}</code></td><td>${reason}</td><td>${formatCount(restoredStep)}</td></tr>
`,
  )}</tbody></table></div>`;
}
