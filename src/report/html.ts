/** Markup as a value: what is put into an `html` template is escaped, unless it is markup already. So no name or number can break a page. */

export class Html {
  readonly #markup: string;

  constructor(markup: string) {
    this.#markup = markup;
  }

  toString(): string {
    return this.#markup;
  }
}

type Part = Html | string | number | readonly Html[];

export function html(texts: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(texts.map((text, i) => text + (i < parts.length ? markupOf(parts[i] as Part) : "")).join(""));
}

export const NOTHING = new Html("");

function markupOf(part: Part): string {
  if (part instanceof Html) return part.toString();
  if (typeof part === "object") return part.map(String).join("");
  return escapeText(String(part));
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

export function escapeText(text: string): string {
  // Control characters have no place in XML at all.
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] as string).replaceAll(/[^\P{Cc}\t\n\r]/gu, "\ufffd");
}
