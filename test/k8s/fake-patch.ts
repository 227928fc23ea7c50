/** How an API server changes objects by parts: merge patches (RFC 7386), and conflicts between those who apply. */

/** Leaves that `wanted` sets otherwise than `theirs` does; lists are leaves. */
export function differing(theirs: unknown, wanted: unknown, manager: string, path = ""): readonly string[] {
  if (!isTree(theirs) || !isTree(wanted)) {
    return JSON.stringify(sorted(theirs)) === JSON.stringify(sorted(wanted)) ? [] : [`conflict with "${manager}": ${path}`];
  }
  return Object.entries(wanted).flatMap(([key, value]) => (key in theirs ? differing(theirs[key], value, manager, `${path}.${key}`) : []));
}

/** RFC 7386. */
export function mergePatch(target: unknown, patch: unknown): void {
  if (!isTree(target) || !isTree(patch)) return;
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete target[key];
    else if (isTree(value) && isTree(target[key])) mergePatch(target[key], value);
    else target[key] = structuredClone(value);
  }
}

function isTree(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isTree(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}
