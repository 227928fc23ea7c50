/**
 * The frame of every page that isoerg writes: one HTML file that stands alone. No request leaves it, and a policy in it forbids any;
 * it has no script. Light and dark follow the reader's system, and it prints.
 */
import { Html, html } from "./html.js";
import { STYLE } from "./style.js";

export interface Page {
  /** Of the window. */
  readonly title: string;
  readonly heading: string;
  readonly subtitle: string;
  readonly main: Html;
  readonly footer: string;
}

/** Who writes a page, and when. */
export interface Writing {
  readonly now: Date;
  readonly isoergVersion: string;
}

export function renderPage({ title, heading, subtitle, main, footer }: Page): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${title}</title>
<style>
${new Html(STYLE)}
</style>
</head>
<body>
<header>
<h1>${heading}</h1>
<p class="soft">${subtitle}</p>
</header>
<main>
${main}
</main>
<footer><p class="note">${footer}</p></footer>
</body>
</html>
`.toString();
}

/** "Written by isoerg 0.1.0 on 2026-01-02 03:04 UTC" */
export function writtenBy({ now, isoergVersion }: Writing): string {
  return `Written by isoerg ${isoergVersion} on ${now.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}
