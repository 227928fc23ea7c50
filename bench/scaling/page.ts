/**
 * The result as one HTML page that stands alone, for someone who has to decide what to buy. What was measured and what a model says are
 * kept apart everywhere: circles and plain tables are measured, lines and tables with a dashed frame are extrapolated, and each
 * heading says which.
 */
import type { Tone } from "../../src/report/charts/frame.js";
import { lineChart, type Series } from "../../src/report/charts/line-chart.js";
import { Html, html, NOTHING } from "../../src/report/html.js";
import { STYLE } from "../../src/report/style.js";
import { type Extrapolation, linkOf, type Network, type Prediction } from "./predict.js";
import { ms, PARTS, percent, recoveryText, signedPercent, withError } from "./render.js";
import { type ScalingResult, withEfficiency } from "./result.js";

const OWN_STYLE = `
main h3 { margin: 22px 0 8px; } .charts + .scroll { margin-top: 14px; }
.tag { display: inline-block; vertical-align: .12em; margin-left: 8px; padding: 1px 9px; border-radius: 9px; font-size: .78rem; font-weight: 600; border: 1.5px solid var(--clean); color: var(--clean); }
.tag.model { border-style: dashed; border-color: var(--adversarial); color: var(--adversarial); }
.extrapolated { margin: 10px 0; border: 1.5px dashed var(--adversarial); border-radius: 10px; padding: 6px 14px 10px; } .extrapolated td { font-style: italic; }
.held th, .held td { font-weight: 700; }
`;

const MEASURED = html`<span class="tag">measured</span>`;
const EXTRAPOLATED = html`<span class="tag model">extrapolated</span>`;
const LINK_TONES: readonly Tone[] = ["adversarial", "generated", "clean", "buffer", "second", "plain"];

export function renderPage(result: ScalingResult): string {
  const { origin, network } = result;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${network.name}: how it scales</title>
<style>
${new Html(STYLE)}
${new Html(OWN_STYLE.trim())}
</style>
</head>
<body>
<header>
<h1>How ${network.name} scales</h1>
<p class="soft">${origin.machine.processor}, ${origin.machine.numCores} cores, ${origin.machine.system} · ${origin.threads} ${origin.threads === 1 ? "thread" : "threads"} a worker · ${origin.date.slice(0, 10)}</p>
</header>
<main>
${summary(result)}
${measuredSection(result)}
${controlSection(result)}
${modelSection(result)}
${extrapolatedSection(result)}
${assumptionsSection(result)}
</main>
<footer><p class="note">Written by isoerg ${origin.isoerg}${origin.commit === null ? "" : `, commit ${origin.commit}`}. Measured with: <code>${origin.command}</code></p></footer>
</body>
</html>
`;
  return page.toString();
}

// ---- at the top ----

function summary({ measured, fitted, network }: ScalingResult): Html {
  const tile = (figure: string, text: string): Html => html`<div class="tile"><b>${figure}</b><span>${text}</span></div>`;
  const weak = withEfficiency(measured.points, "weak").at(-1);
  const strong = withEfficiency(measured.points, "strong").at(-1);
  const held = fitted.predictions.filter(({ heldOut }) => heldOut);
  const worst = held.reduce<Prediction | undefined>((a, b) => (a && Math.abs(a.error) > Math.abs(b.error) ? a : b), undefined);
  return html`<p class="lead">${network.name} has ${(network.numParameters / 1e6).toFixed(2)} million parameters. Circles and plain tables on this page were measured; lines and dashed frames are what a model, fitted on those measurements, says of machines that were not there.</p>
<div class="tiles">
${weak ? tile(withError(weak.point.inTurn), `weak scaling to ${weak.point.workers} workers, of what ${weak.point.workers} independent processes reach on this machine (in step: about ${percent(weak.efficiency.inStep)} at most)`) : NOTHING}
${strong ? tile(withError(strong.point.inTurn), `strong scaling to ${strong.point.workers} workers, of the same ideal`) : NOTHING}
${worst ? tile(signedPercent(worst.error), `error of the model on the held-out points, at most`) : NOTHING}
</div>`;
}

// ---- measured ----

function measuredSection(result: ScalingResult): Html {
  return html`<section><h2>Scaling on this machine ${MEASURED}</h2>
<p>Efficiency is T(1)/T(n) where each worker keeps its slice (weak), and T(1)/(n T(n)) where all share one batch (strong). T(1) is one worker, with the whole communication stack and without it. Workers of one machine share its caches and its memory; so the ideal is what n independent processes of the same size reach beside each other, and “of ideal” is the column that tells what distributing costs. For it both sides had the machine in turn, a second or more each, so that it was the same machine for both; ± is the standard error over turns.</p>
${(["weak", "strong"] as const).map((mode) => modeFigures(result, mode))}
${sumsTable(result)}
${result.measured.recovery ? html`<h3>A failure</h3><p>${recoveryText(result)}</p>` : NOTHING}</section>`;
}

function modeFigures({ measured }: ScalingResult, mode: "weak" | "strong"): Html {
  const rows = withEfficiency(measured.points, mode);
  if (rows.length === 0) return NOTHING;
  const name = mode === "weak" ? "Weak scaling" : "Strong scaling";
  const at = (of: (row: (typeof rows)[number]) => number) =>
    rows.map((row): [number, number] => [Math.log2(row.point.workers), 100 * of(row)]);
  const chart = lineChart({
    description: `${name}: efficiency over workers`,
    xLabel: "workers",
    yLabel: "efficiency, %",
    includeZero: true,
    xMarks: workerMarks(rows.map(({ point }) => point.workers)),
    series: [
      { name: "isoerg", tone: "clean", shape: "dots", points: at(({ efficiency }) => efficiency.withoutStack) },
      { name: "independent processes", tone: "plain", shape: "dots", points: at(({ efficiency }) => efficiency.ideal) },
    ],
  });
  return html`<h3>${name}</h3>
<div class="charts">
${chart ? html`<figure>${chart}<figcaption>Against one worker without the communication stack. Where both circles lie together, distributing costs nothing.</figcaption></figure>` : NOTHING}
<figure><div class="scroll"><table class="figures"><thead><tr><th scope="col">Milliseconds of a step</th>${rows.map(({ point }) => html`<th scope="col">${point.workers} ${point.workers === 1 ? "worker" : "workers"}</th>`)}</tr></thead><tbody>
${PARTS.map(([part, label]) => html`<tr><th scope="row">${label}</th>${rows.map(({ point }) => html`<td>${ms(point.run.breakdown[part])}</td>`)}</tr>\n`)}
</tbody></table></div><figcaption>Means of all workers, in the order in which a step goes.</figcaption></figure>
</div>
<div class="scroll"><table class="figures"><thead><tr><th scope="col">Workers</th><th scope="col">batch</th><th scope="col">step, ms</th><th scope="col">p50</th><th scope="col">p95</th><th scope="col">p99</th><th scope="col">alone, no link</th><th scope="col">ideal, ms</th><th scope="col">of T(1) with link</th><th scope="col">of T(1) without</th><th scope="col">ideal</th><th scope="col">of ideal</th><th scope="col">at most, in step</th></tr></thead><tbody>
${rows.map(
  ({ point: { workers, batchSize, run, solo, independent, inTurn }, efficiency }) =>
    html`<tr><th scope="row">${workers}</th><td>${batchSize}</td>${[run.stepMs.typical, run.stepMs.p50, run.stepMs.p95, run.stepMs.p99, solo.stepMs.typical, independent.stepMs.typical].map((value) => html`<td>${ms(value)}</td>`)}${[efficiency.withStack, efficiency.withoutStack, efficiency.ideal].map((value) => html`<td>${percent(value)}</td>`)}<td>${withError(inTurn)}</td><td>${percent(efficiency.inStep)}</td></tr>\n`,
)}</tbody></table></div>
<p>The last column estimates what a training whose workers wait for each other in each step could reach were all else free: the independent processes' own times vary, and the slowest of them takes longer than the mean. It takes the workers' times as independent of each other.</p>`;
}

function sumsTable({ measured }: ScalingResult): Html {
  if (measured.sums.length === 0) return NOTHING;
  return html`<h3>Sums by themselves</h3>
<p>In shared memory, with nothing computed beside them. Bus bandwidth is 2 (n-1)/n of the bytes over the median time; the line is what one thread copies here, ${measured.copyGigabytesPerSecond.toFixed(1)} GB/s.</p>
<div class="scroll"><table class="figures"><thead><tr><th scope="col">Workers</th><th scope="col">values</th><th scope="col">p50, ms</th><th scope="col">p95</th><th scope="col">bus, GB/s</th><th scope="col">of the line</th></tr></thead><tbody>
${measured.sums.map(
  (sum) =>
    html`<tr><th scope="row">${sum.workers}</th><td>${sum.numValues.toLocaleString("en-US")}</td><td>${ms(sum.p50Ms)}</td><td>${ms(sum.p95Ms)}</td><td>${sum.busGigabytesPerSecond.toFixed(2)}</td><td>${percent(sum.busGigabytesPerSecond / measured.copyGigabytesPerSecond)}</td></tr>\n`,
)}</tbody></table></div>`;
}

function controlSection({ measured }: ScalingResult): Html {
  if (measured.control.length === 0) return NOTHING;
  return html`<section><h2>The coordinator by itself ${MEASURED}</h2>
<p>A real coordinator, and simulated workers that vote at once and compute nothing: the time from the last ballot's sending to the last verdict's arrival, both sides on this machine.</p>
<div class="scroll"><table class="figures"><thead><tr><th scope="col">Workers</th><th scope="col">batch</th><th scope="col">commit p50, ms</th><th scope="col">p95</th><th scope="col">p99</th><th scope="col">CPU a step, ms</th><th scope="col">memory, MB</th></tr></thead><tbody>
${measured.control.map(
  ({ workers, batchSize, commitMs, coordinator }) =>
    html`<tr><th scope="row">${workers}</th><td>${batchSize}</td><td>${ms(commitMs.p50)}</td><td>${ms(commitMs.p95)}</td><td>${ms(commitMs.p99)}</td><td>${ms(coordinator.cpuMsPerStep)}</td><td>${Math.round(coordinator.peakRssBytes / 1e6)}</td></tr>\n`,
)}</tbody></table></div></section>`;
}

// ---- the model ----

function modelSection({ fitted }: ScalingResult): Html {
  const { compute, host, vote, overlapShare, aheadShare } = fitted.model;
  return html`<section><h2>How well the model predicts</h2>
<p>Fitted by least squares: own work ${ms(compute.fixedMs)} ms and ${ms(compute.perSampleMs)} ms a sample; sums in shared memory ${host.latencyUs.toFixed(0)} us a barrier and ${host.perValueNs.toFixed(2)} ns a value; a vote ${ms(vote.fixedMs)} ms, ${ms(1000 * vote.perWorkerMs)} us a worker and ${ms(1000 * vote.perSampleMs)} us a sample. Sums can hide behind ${percent(overlapShare)} of a worker's own time, votes behind ${percent(aheadShare)}. No figure of a training with the most workers entered the fit: those rows are held out, and their error is the honest one. What independent processes take beside each other is measured for every row.</p>
<div class="scroll"><table class="figures"><thead><tr><th scope="col">Point</th><th scope="col">measured, ms</th><th scope="col">predicted, ms</th><th scope="col">error</th><th scope="col"></th></tr></thead><tbody>
${fitted.predictions.map(
  ({ point, heldOut, measuredMs, predictedMs, error }) =>
    html`<tr${heldOut ? new Html(' class="held"') : NOTHING}><th scope="row">${point.mode}, ${point.workers} x ${Math.round(point.samplesPerWorker)} samples</th><td>${ms(measuredMs)}</td><td>${ms(predictedMs)}</td><td>${signedPercent(error)}</td><td>${heldOut ? "held out" : "in the fit"}</td></tr>\n`,
)}</tbody></table></div></section>`;
}

// ---- extrapolated ----

function extrapolatedSection(result: ScalingResult): Html {
  return html`<section><h2>Other clusters ${EXTRAPOLATED}</h2>
<p>Nothing here was measured. Each worker keeps its slice, ${result.assumptions.workersPerHost} workers share a host's memory, and the links are between hosts. Circles in the charts are this machine's measurements, where network and workers are the same.</p>
${result.networks.map((network) => networkFigures(result, network))}</section>`;
}

function networkFigures(result: ScalingResult, network: Network): Html {
  const { assumptions, measured, simulateOn } = result;
  const of = result.extrapolations.filter(({ network: name }) => name === network.name);
  const x = (workers: number): number => Math.log2(workers);
  const lines = (value: (e: Extrapolation) => number): Series[] =>
    assumptions.links.map((link, i) => ({
      name: `${link} Gb/s`,
      tone: LINK_TONES[i % LINK_TONES.length] as Tone,
      points: of.filter((e) => e.gigabitsPerSecond === link).map((e) => [x(e.workers), value(e)] as const),
    }));
  // Circles beside lines only where both are of the same workers.
  const isSame = network.name === result.network.name && assumptions.workerGflops === null;
  const own = isSame ? withEfficiency(measured.points, "weak") : [];
  const counts = [...own.map(({ point }) => point.workers), ...assumptions.workers];
  const common = { xLabel: "workers", xMarks: workerMarks(counts) };
  const efficiency = lineChart({
    ...common,
    description: `${network.name}: extrapolated weak-scaling efficiency over workers, by link`,
    yLabel: "efficiency, %",
    includeZero: true,
    series: [
      ...lines((e) => 100 * e.efficiency),
      {
        name: "measured here, of ideal",
        tone: "plain",
        shape: "dots",
        points: own.map(({ point, efficiency: e }) => [x(point.workers), 100 * e.ofIdeal] as const),
      },
    ],
  });
  const simulated = of.filter((e) => e.gigabitsPerSecond === simulateOn);
  const goodputs = lineChart({
    ...common,
    description: `${network.name}: extrapolated useful share of the time under failures`,
    yLabel: "useful share of the time, %",
    series: [
      { name: "elastic, closed form", tone: "adversarial", points: simulated.map((e) => [x(e.workers), 100 * e.goodput] as const) },
      {
        name: "elastic, simulated with repairs",
        tone: "generated",
        points: simulated.map((e) => [x(e.workers), 100 * (e.simulated?.goodput ?? Number.NaN)] as const),
      },
      { name: "checkpoints alone", tone: "plain", points: simulated.map((e) => [x(e.workers), 100 * e.fromCheckpoints.goodput] as const) },
    ],
  });
  return html`<h3>${network.name}: ${(network.numParameters / 1e6).toFixed(2)} M parameters, ${(network.macsPerSample / 1e9).toPrecision(3)} G multiplications a pass, ${network.samplesPerWorker} samples a worker</h3>
<div class="charts">
${efficiency ? html`<figure>${efficiency}<figcaption>Own work over the whole step. Lines are the model's.${own.length > 0 ? " Circles were measured, in one machine's memory." : ""}</figcaption></figure>` : NOTHING}
${goodputs ? html`<figure>${goodputs}<figcaption>At ${simulateOn} Gb/s; all lines are the model's. Elastic is what isoerg does: in closed form with a lost worker replaced at once, simulated with the others doing its part until it is back. Checkpoints alone: all start again from the last one, made at Daly's interval.</figcaption></figure>` : NOTHING}
</div>
<div class="scroll extrapolated"><table class="figures"><thead><tr><th scope="col">Workers, ${simulateOn} Gb/s: ms of a step</th><th scope="col">own work</th><th scope="col">slowest: +</th><th scope="col">sum left</th><th scope="col">vote left</th><th scope="col">data wait</th><th scope="col">step</th><th scope="col">simulated</th><th scope="col">normal tail</th><th scope="col">whole sum</th><th scope="col">by</th></tr></thead><tbody>
${simulated.map(
  ({ workers, step, tailRisk, simulated: sim }) =>
    html`<tr><th scope="row">${workers.toLocaleString("en-US")}</th>${[step.computeMs, step.stragglerMs, step.exposedMs, step.voteMs, step.waitMs, step.totalMs].map((value) => html`<td>${ms(value)}</td>`)}<td>${sim ? ms(sim.stepMs) : ""}</td><td>${signedPercent(tailRisk)}</td><td>${ms(step.sumMs)}</td><td>${step.algorithm ?? "memory"}</td></tr>\n`,
)}</tbody></table></div>
<div class="scroll extrapolated"><table class="figures"><thead><tr><th scope="col">Efficiency by link</th>${assumptions.links.map((link) => html`<th scope="col">${link} Gb/s</th>`)}<th scope="col">samples/s</th><th scope="col">useful time</th><th scope="col">checkpoints alone</th><th scope="col">made every</th></tr></thead><tbody>
${simulated.map(
  ({ workers, samplesPerSecond, simulated: sim, fromCheckpoints }) =>
    html`<tr><th scope="row">${workers.toLocaleString("en-US")}</th>${assumptions.links.map((link) => html`<td>${percent(of.find((e) => e.workers === workers && e.gigabitsPerSecond === link)?.efficiency)}</td>`)}<td>${Math.round(samplesPerSecond).toLocaleString("en-US")}</td><td>${percent(sim?.goodput)}</td><td>${percent(fromCheckpoints.goodput)}</td><td>${minutes(fromCheckpoints.intervalMs)}</td></tr>\n`,
)}</tbody></table></div>
<p class="note">"Sum left" is what the backward pass does not hide. "Normal tail": a step would take so much longer if workers' times were normal and went on beyond the longest measured one. Samples, useful time (simulated) and checkpoints at ${simulateOn} Gb/s.</p>`;
}

const minutes = (value: number): string => `${value >= 600_000 ? Math.round(value / 60_000) : (value / 60_000).toPrecision(2)} min`;

function assumptionsSection({ assumptions, fitted, measured }: ScalingResult): Html {
  const { reliability, workerGflops, feed, workersPerHost } = assumptions;
  const { recovery } = reliability;
  const link = linkOf(1);
  const recoveryText =
    recovery.kind === "elastic"
      ? `Survivors go on ${(recovery.recoveryMs / 1000).toPrecision(2)} s after a failure, with the step under way lost; a lost worker is back after ${(reliability.repairMs / 60_000).toFixed(0)} minutes.`
      : `After a failure all go back to the last checkpoint, made every ${recovery.everySteps} steps.`;
  return html`<section><h2>What the extrapolation assumes</h2>
<ul>
<li>A worker reaches ${(workerGflops ?? fitted.workerGflops).toPrecision(3)} GFLOP/s in training, ${workerGflops === null ? "as one worker of this machine does" : "as given"}; another network costs in proportion to its arithmetic. Workers have machines of their own: the sharing of this one is left out.</li>
<li>A long message gets ${percent(link.utilisation)} of its link; a short one takes ${link.latencyUs} us, which is the program's own part, measured over loopback.</li>
<li>Workers vary from step to step as those measured did, each for itself. No time is longer than the longest measured; "normal tail" is what a step would take more if times were normal and went on beyond it.</li>
<li>Two thirds of the gradient phase are the backward pass, behind which sums can hide.</li>
<li>The coordinator's vote grows as fitted on up to ${Math.max(0, ...measured.control.map(({ workers }) => workers))} simulated workers, all on one machine with it.</li>
<li>${feed === "workers" ? "Workers read samples from storage that keeps up with them." : "The coordinator feeds all workers over one link of the same speed."} ${workersPerHost} workers share a host.</li>
<li>A worker fails once in ${Math.round(reliability.workerMtbfMs / 3_600_000).toLocaleString("en-US")} hours on average, at random. ${recoveryText} A checkpoint takes ${(assumptions.checkpointMs / 1000).toFixed(0)} s and a start from one ${minutes(assumptions.restartMs)} where there is nothing else.</li>
</ul></section>`;
}

/** Powers of two would crowd: every second one where there are many. */
function workerMarks(counts: readonly number[]): readonly { value: number; text: string }[] {
  const all = [...new Set(counts)].sort((a, b) => a - b);
  const shown = all.length > 8 ? all.filter((_, i) => (all.length - 1 - i) % 2 === 0) : all;
  return shown.map((count) => ({ value: Math.log2(count), text: String(count) }));
}
