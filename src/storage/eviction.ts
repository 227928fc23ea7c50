/** Which files of a cache make room for a new one: a pure decision. The least recently used go first, and no more than must. */

export interface CachedFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly usedAtMs: number;
}

/** @returns the names to delete, oldest first; null where the new file is too large to be kept at all. */
export function evictions(files: readonly CachedFile[], newBytes: number, maxBytes: number): readonly string[] | null {
  if (newBytes > maxBytes) return null;
  let total = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, newBytes);
  const names: string[] = [];
  for (const { name, sizeBytes } of [...files].sort((a, b) => a.usedAtMs - b.usedAtMs || (a.name < b.name ? -1 : 1))) {
    if (total <= maxBytes) break;
    names.push(name);
    total -= sizeBytes;
  }
  return names;
}
