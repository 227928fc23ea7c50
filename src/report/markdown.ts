/** Texts of files within Markdown. */

/** A name or sentence of a file, so that it is no markup and breaks no table. */
export function text(value: string): string {
  return value.replaceAll(/[\\`*_[\]<>|#]/g, "\\$&").replaceAll(/\s+/g, " ");
}
