/** Rows as aligned columns: the first to the left, all others to the right. */

export function textTable(rows: readonly (readonly string[])[]): string {
  const numColumns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: numColumns }, (_, column) => Math.max(0, ...rows.map((row) => [...(row[column] ?? "")].length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[column] as number))).join("   ");
  return rows.map((row) => `${line(row).trimEnd()}\n`).join("");
}
