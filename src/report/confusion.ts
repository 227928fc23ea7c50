/** What a model takes for what: a confusion matrix as a table whose cells are the deeper the more often they occurred. */
import { confusionOf, type Decisions, numDecisions } from "../evaluate/decision/decisions.js";
import { formatCount, formatPercent } from "../evaluate/format.js";
import { type Doc, sourceOf } from "./cite.js";
import { type Html, html, NOTHING } from "./html.js";

/** More classes than this make no table that anybody could read. */
const MAX_CLASSES = 20;
const NUM_FREQUENT = 5;

/** @param doc where the decisions stand */
export function confusionFigure(title: string, decisions: Decisions, classes: readonly string[], doc: Doc): Html {
  const matrix = confusionOf(decisions);
  const name = (k: number): string => classes[k] ?? String(k);
  return html`<figure class="wide" data-run="${doc.run}" data-source="${sourceOf(doc)}"><h3>${title}</h3>
${matrix.length > MAX_CLASSES ? NOTHING : matrixTable(title, matrix, name)}
<figcaption>${formatCount(numDecisions(decisions))} samples; each row is a true class, each column what the model decided. ${frequentMistakes(matrix, name)}</figcaption></figure>`;
}

function matrixTable(title: string, matrix: readonly (readonly number[])[], name: (k: number) => string): Html {
  return html`<div class="scroll" role="group" tabindex="0" aria-label="${title}: confusion matrix"><table class="confusion"><caption class="hidden">${title}: true classes in rows, decided classes in columns, counts of samples</caption>
<thead><tr><th scope="col">true class</th>${matrix.map((_, k) => html`<th scope="col">${name(k)}</th>`)}</tr></thead>
<tbody>${matrix.map((row, truth) => {
    const total = row.reduce((sum, n) => sum + n, 0);
    return html`<tr><th scope="row">${name(truth)}</th>${row.map((n, decided) => {
      const kind = truth === decided ? "right" : "wrong";
      const share = total === 0 ? 0 : n / total;
      // Mistakes are few where a model is any good: the root lets them show.
      const depth = Math.ceil(9 * (kind === "right" ? share : Math.sqrt(share)));
      return html`<td class="${kind} depth-${depth}">${n}</td>`;
    })}</tr>
`;
  })}</tbody></table></div>`;
}

/** "Most frequent mistakes: cat for dog (12.1 % of cats), ..." */
function frequentMistakes(matrix: readonly (readonly number[])[], name: (k: number) => string): string {
  const mistakes = matrix.flatMap((row, truth) => {
    const total = row.reduce((sum, n) => sum + n, 0);
    return row.flatMap((n, decided) => (n > 0 && decided !== truth ? [{ truth, decided, n, share: n / total }] : []));
  });
  if (mistakes.length === 0) return "No mistake was made.";
  const most = mistakes.sort((a, b) => b.n - a.n || a.truth - b.truth).slice(0, NUM_FREQUENT);
  return `Most frequent mistakes: ${most.map(({ truth, decided, share }) => `${name(truth)} taken for ${name(decided)} (${formatPercent(share)} of its class)`).join(", ")}.`;
}
