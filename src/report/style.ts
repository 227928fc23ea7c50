/**
 * The report's one style sheet. Series colours are Okabe & Ito's (2008), which people with the common colour blindnesses can
 * tell apart, darkened or lightened until they stand out against the page; dashes tell series apart without colour.
 */
const TONES = ["clean", "adversarial", "generated", "buffer", "plain", "second"] as const;

/** Of a cell of a confusion matrix; shallow enough that its figure can be read at any depth (test/report/contrast.test.ts). */
function tint(kind: "right" | "wrong", depth: number): string {
  return `color-mix(in srgb, var(--heat-${kind}) ${depth * DEPTH_PERCENT}%, var(--page))`;
}

export const DEPTH_PERCENT = 4;

/** How much of the good end's colour each fifth of a study's trials has, in percent, the worst first; the rest is the bad end's. */
export const FIFTHS = [0, 30, 55, 78, 100] as const;

export const STYLE = `
:root { color-scheme: light dark; --page: #fff; --panel: #f6f7f9; --ink: #1a1d21; --soft: #59616b; --rule: #d9dde3; --grid: #e8ebef;
  --clean: #0069a8; --adversarial: #c44e00; --generated: #00795a; --buffer: #a3508a; --plain: #33404d; --second: #8a6d00; --area: .16;
  --good: #00694e; --fair: #7a5f00; --weak: #b0261e; --heat-right: #0069a8; --heat-wrong: #c44e00; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --panel: #1d2125; --ink: #e8eaed; --soft: #a3acb6; --rule: #363c43; --grid: #262b31;
  --clean: #62b8f0; --adversarial: #ff9a52; --generated: #3ed6a8; --buffer: #e29bcb; --plain: #c9d1d9; --second: #e6c75a; --area: .22;
  --good: #3ed6a8; --fair: #e6c75a; --weak: #ff8f85; --heat-right: #62b8f0; --heat-wrong: #ff9a52; } }
@media print { :root { color-scheme: light; --page: #fff; --panel: #fff; --ink: #000; --soft: #444; --rule: #bbb; --grid: #e4e4e4;
  --clean: #0069a8; --adversarial: #c44e00; --generated: #00795a; --buffer: #a3508a; --plain: #33404d; --second: #8a6d00; --good: #00694e; --fair: #7a5f00; --weak: #b0261e; --heat-right: #0069a8; --heat-wrong: #c44e00; }
  figure, .tile, tr { break-inside: avoid; } h2, h3, summary { break-after: avoid; } thead { display: table-header-group; } details:not([open]) { display: none; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 28px 20px 60px; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 4px; } h2 { font-size: 1.25rem; margin: 44px 0 10px; padding-top: 14px; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 0 0 6px; } p { max-width: 75ch; margin: 8px 0; } .lead { font-size: 1.06rem; } .soft, .note { color: var(--soft); } .note { font-size: .88rem; }
.missing { padding: 10px 14px; border: 1px dashed var(--soft); border-radius: 8px; } code { font: .9em ui-monospace, "SF Mono", Consolas, monospace; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 215px), 1fr)); gap: 12px; margin: 20px 0; }
.tile { background: var(--panel); border: 1px solid var(--rule); border-radius: 10px; padding: 12px 16px; } .tile b { display: block; font-size: 1.7rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .88rem; display: block; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 410px), 1fr)); gap: 16px; margin: 16px 0; }
figure { margin: 0; padding: 14px 16px; background: var(--panel); border: 1px solid var(--rule); border-radius: 10px; min-width: 0; } figcaption { color: var(--soft); font-size: .9rem; margin-top: 6px; }
.chart { display: block; width: 100%; height: auto; font: 11px system-ui, "Segoe UI", Roboto, Arial, sans-serif; } .chart text { fill: var(--soft); } .chart .legend { fill: var(--ink); font-size: 11.5px; }
.chart .grid { stroke: var(--grid); } .chart .axis { stroke: var(--soft); } .chart .series { fill: none; stroke-width: 1.9; stroke-linejoin: round; } .chart .area { stroke: none; fill-opacity: var(--area); }
${TONES.map((tone) => `.chart .series.${tone} { stroke: var(--${tone}); } .chart .area.${tone} { fill: var(--${tone}); }`).join("\n")}
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; } th, td { padding: 6px 12px 6px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid); }
thead th { border-bottom: 2px solid var(--rule); } .figures td, .figures thead th:not(:first-child) { text-align: right; white-space: nowrap; } .figures thead th:not(:first-child) { white-space: normal; }
.figures th[scope=row] { font-weight: 500; min-width: 11rem; } th.group { padding-top: 16px; font-size: .88rem; color: var(--soft); } small { display: block; color: var(--soft); font-size: .8rem; font-weight: 400; } .none { color: var(--soft); font-size: .85rem; }
.settings th { font: .86rem ui-monospace, Consolas, monospace; font-weight: 500; white-space: nowrap; padding-right: 20px; } .settings td { font: .86rem ui-monospace, Consolas, monospace; overflow-wrap: anywhere; }
section > h3 { margin-top: 22px; } .stack { display: grid; gap: 16px; } .stack > * { min-width: 0; }
caption { text-align: left; color: var(--soft); font-size: .9rem; padding: 6px 0; } .hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--clean); outline-offset: 2px; } .total th, .total td { border-top: 2px solid var(--rule); font-weight: 600; }
.mark { display: inline-block; border: 1px solid currentColor; border-radius: 99px; padding: 0 10px; font-size: .82rem; font-weight: 600; white-space: nowrap; } .mark.good { color: var(--good); } .mark.fair { color: var(--fair); } .mark.weak { color: var(--weak); } .mark.note { color: var(--soft); }
.verdict { list-style: none; padding: 0; } .verdict li { margin: 9px 0; } .checks th[scope=row] { font-weight: 500; } .charts + h3, .scroll + h3 { margin-top: 22px; }
.confusion { font-size: .82rem; table-layout: fixed; min-width: 700px; } .confusion th, .confusion td { padding: 5px 7px; border-bottom: 0; text-align: right; } .confusion thead th { vertical-align: bottom; font-weight: 500; } .confusion tbody th { white-space: nowrap; font-weight: 500; }
${Array.from({ length: 9 }, (_, i) => `.right.depth-${i + 1} { background: ${tint("right", i + 1)}; } .wrong.depth-${i + 1} { background: ${tint("wrong", i + 1)}; }`).join("\n")}
.chart .interval { fill: none; stroke-width: 1.4; stroke-opacity: .65; } .chart .dot { stroke: none; }
${TONES.map((tone) => `.chart .interval.${tone} { stroke: var(--${tone}); } .chart .dot.${tone} { fill: var(--${tone}); }`).join("\n")}
.chart .area.faint { fill-opacity: .05; } .chart .bound { fill: none; stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 1.5 3; } .chart .plate { fill: var(--panel); fill-opacity: .88; } .chart .halo { paint-order: stroke; stroke: var(--panel); stroke-width: 4px; stroke-linejoin: round; }
.chart .trial { fill: none; stroke-width: 1.3; stroke-linejoin: round; } .chart .trial.best { stroke-width: 3.4; } .chart .spot { stroke: none; } .chart .cross { fill: none; stroke: var(--weak); stroke-width: 2; } .chart .unscored { stroke: var(--weak); stroke-dasharray: 3 3; }
${FIFTHS.map((share, i) => `.fifth-${i + 1} { --value: color-mix(in srgb, var(--clean) ${share}%, var(--adversarial)); }`).join(" ")}
.chart [class*=fifth-] { stroke: var(--value); } .chart .spot { fill: var(--value); } .swatch { display: inline-block; width: 26px; border-top: 3px solid var(--value); vertical-align: middle; margin-right: 7px; } .swatch.best { border-top-width: 6px; } .swatch.unscored { border-top: 2px dashed var(--weak); }
.key { list-style: none; display: flex; flex-wrap: wrap; gap: 3px 18px; padding: 0; margin: 8px 0; max-width: none; font-size: .86rem; } .key li { margin: 0; } .crossed { color: var(--weak); font-weight: 700; margin-right: 7px; }
.trials th { font-size: .86rem; font-weight: 500; vertical-align: bottom; } .trials tbody th { vertical-align: top; } .trials td { white-space: nowrap; } .trials td small { white-space: normal; max-width: 22rem; }
@media print { :root { font-size: 12px; } body { max-width: none; padding: 0; font-size: 1rem; } h2 { margin-top: 26px; } .charts { grid-template-columns: 1fr 1fr; gap: 10px; } .tiles { grid-template-columns: repeat(4, 1fr); gap: 8px; } .tile b { font-size: 1.4rem; }
  .scroll { overflow: visible; } .confusion { min-width: 0; font-size: .82rem; } .confusion th, .confusion td { padding: 3px 4px; } .trials, .settings th, .settings td { font-size: .8rem; } .grid-image { max-width: 330px; } figure { padding: 8px 10px; } }
@media (max-width: 480px) { body { padding: 20px 14px 40px; } th, td { padding-right: 8px; } .figures th[scope=row] { min-width: 8rem; } figure { padding: 12px 10px; } }
details { margin: 10px 0; } summary { cursor: pointer; font-weight: 600; padding: 4px 0; } .grid-image { display: block; width: 100%; max-width: 660px; image-rendering: pixelated; border-radius: 4px; } ul { padding-left: 1.2rem; max-width: 75ch; } li { margin: 4px 0; }
`.trim();
