/**
 * Holds the one-way flow of imports: a file may import from its own layer or from one below it, never from one above, and no
 * chain of imports comes back to where it began. `node test/layers.mjs` prints what breaks this and ends with 1.
 *
 * The layers are those of the README's design section. Two folders of one layer may know each other in one direction only.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** Lowest first. A file directly in src/ belongs to the top layer. */
export const layers = [
  ["util"],
  ["config"],
  ["storage"],
  ["engine", "data", "collective", "checkpoint", "wire", "security"],
  ["model", "sampler", "attack", "objective", "optimizer"],
  ["train"],
  ["worker", "coordinator"],
  ["evaluate", "report", "sweep", "dashboard", "k8s", "launch"],
  ["cli"],
];

const IMPORT = /(?:\bfrom\s*|\bimport\s*\(\s*|^\s*import\s+)["'](\.[^"']+)["']/gm;
const COMMENT = /\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm;

/** Relative imports of one source text. */
export function importsOf(text) {
  return [...text.replaceAll(COMMENT, "").matchAll(IMPORT)].map((match) => match[1]);
}

/** Reads all .ts files below a folder: path relative to it -> paths that it imports, also relative to it. */
export function readGraph(root) {
  const files = readdirSync(root, { recursive: true })
    .map((entry) => entry.split(sep).join("/"))
    .filter((entry) => entry.endsWith(".ts") && !entry.endsWith(".d.ts"));
  const graph = new Map();
  for (const file of files.sort()) {
    const imports = importsOf(readFileSync(join(root, file), "utf8"))
      .map((target) => relative(root, resolve(root, dirname(file), target.replace(/\.js$/, ".ts"))))
      .filter((target) => !target.startsWith("..")); // outside src: package.json and the like
    graph.set(file, [...new Set(imports.map((target) => target.split(sep).join("/")))]);
  }
  return graph;
}

/** Everything in the graph that breaks the rule, one sentence each. */
export function violations(graph) {
  const found = [];
  const folderOf = (file) => (file.includes("/") ? file.slice(0, file.indexOf("/")) : "cli");
  const layerOf = (folder) => layers.findIndex((names) => names.includes(folder));
  const folderEdges = new Map();
  for (const [file, imports] of graph) {
    const from = folderOf(file);
    if (layerOf(from) < 0) found.push(`src/${file}: the folder '${from}' has no layer; give it one in test/layers.mjs`);
    for (const target of imports) {
      const to = folderOf(target);
      if (!graph.has(target)) found.push(`src/${file} imports src/${target}, which does not exist`);
      else if (layerOf(to) > layerOf(from)) found.push(`src/${file} imports src/${target}: '${from}' lies below '${to}'`);
      else if (to !== from && layerOf(to) === layerOf(from)) folderEdges.set(`${from} ${to}`, `src/${file} imports src/${target}`);
    }
  }
  for (const [edge, example] of folderEdges) {
    const [from, to] = edge.split(" ");
    const back = folderEdges.get(`${to} ${from}`);
    if (from < to && back !== undefined) found.push(`'${from}' and '${to}' know each other both ways: ${example}; ${back}`);
  }
  const cycle = findCycle(graph);
  if (cycle !== undefined) found.push(`imports go in a circle: ${cycle.map((file) => `src/${file}`).join(" -> ")}`);
  return found;
}

/** One circle of imports (first file repeated at the end), or undefined. Depth-first with the path kept. */
function findCycle(graph) {
  const finished = new Set();
  const path = [];
  const visit = (file) => {
    if (finished.has(file)) return undefined;
    const at = path.indexOf(file);
    if (at >= 0) return [...path.slice(at), file];
    path.push(file);
    for (const target of graph.get(file) ?? []) {
      const cycle = visit(target);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    finished.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const cycle = visit(file);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const graph = readGraph(fileURLToPath(new URL("../src", import.meta.url)));
  const found = violations(graph);
  for (const sentence of found) console.error(sentence);
  console.log(`layers: ${graph.size} files, ${found.length} violations`);
  process.exit(found.length === 0 ? 0 : 1);
}
