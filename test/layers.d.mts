export const layers: string[][];
export function importsOf(text: string): string[];
export function readGraph(root: string): Map<string, string[]>;
export function violations(graph: ReadonlyMap<string, string[]>): string[];
