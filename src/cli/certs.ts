/** `isoerg certs`: makes the certificates and the join token of a run's processes, and tells what a folder of them holds. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { Command, Option } from "commander";
import { issue, type Lifetime, makeAuthority, type Pair } from "../security/certificates.js";
import { certificatesOf, readIdentity } from "../security/identity.js";
import { WORKER_NAME } from "../security/names.js";
import { newToken } from "../security/token.js";
import { IsoergError } from "../util/error.js";
import { parseCount } from "./numbers.js";
import { textTable } from "./text-table.js";

interface MakeFlags {
  readonly out: string;
  readonly host: readonly string[];
  readonly days: number;
}

const AUTHORITY_DAYS = 10 * 365;
const ALWAYS = ["localhost", "127.0.0.1", "::1"];

export function certsCommand(): Command {
  return new Command("certs")
    .description("Certificates for mutual TLS between a run's processes, and its join token.")
    .addCommand(
      new Command("make")
        .description(
          "An authority, and from it a certificate for the coordinator and one for workers and whoever watches. Again: new ones.",
        )
        .requiredOption("--out <dir>", "folder for certificates and keys; an authority that is there is used again")
        .addOption(
          new Option("--host <name...>", "names and addresses that the coordinator is reached by").default(
            [hostname()],
            "this machine's name",
          ),
        )
        .option("--days <n>", "how long the certificates are valid; the authority's for ten years", parseCount, 365)
        .addHelpText(
          "after",
          "\nThe authority's key (ca-key.pem) signs new certificates: keep it away from the machines that train." +
            "\n\nExample:\n  $ isoerg certs make --out certs --host first-machine 10.0.0.5\n  $ isoerg coordinator jdat --tls certs --listen 10.0.0.5:7070 --run runs/jdat",
        )
        .action(make),
    )
    .addCommand(
      new Command("show")
        .description("What the certificates of a folder say, and whether they fit together.")
        .argument("<dir>")
        .addHelpText("after", "\nExample:\n  $ isoerg certs show certs")
        .action((folder: string) => show(folder)),
    )
    .addCommand(
      new Command("token")
        .description("A join token: 256 random bits, for --token-file.")
        .argument("<file>")
        .addHelpText("after", "\nExample:\n  $ isoerg certs token certs/token")
        .action((file: string) => {
          if (existsSync(file)) throw new IsoergError("USAGE", `${file} exists already`, { hint: "name another file, or delete it" });
          writeFileSync(file, `${newToken()}\n`, { mode: 0o600, flag: "wx" });
          process.stdout.write(`${file}\n`);
        }),
    )
    .addHelpText("after", "\nExample:\n  $ isoerg certs make --out certs --host first-machine");
}

async function make({ out, host, days }: MakeFlags): Promise<void> {
  const lifetime = { now: new Date(), days };
  mkdirSync(out, { recursive: true, mode: 0o700 });
  const authority = await authorityOf(out, lifetime.now);
  const coordinator = await issue(authority.pair, "coordinator", [...new Set([...host, ...ALWAYS])], lifetime);
  const worker = await issue(authority.pair, "worker", [WORKER_NAME], lifetime);
  if (authority.isNew) writePair(out, "ca", authority.pair);
  writePair(out, "coordinator", coordinator);
  writePair(out, "worker", worker);
  show(out);
}

async function authorityOf(folder: string, now: Date): Promise<{ pair: Pair; isNew: boolean }> {
  const [certificate, key] = ["ca.pem", "ca-key.pem"].map((name) => join(folder, name)) as [string, string];
  if (existsSync(certificate) && existsSync(key))
    return { pair: { certificate: readFileSync(certificate, "utf8"), key: readFileSync(key, "utf8") }, isNew: false };
  const strange = [certificate, key, join(folder, "coordinator.pem")].find(existsSync);
  if (strange !== undefined) {
    throw new IsoergError("USAGE", `${folder} holds ${strange} but not both of ca.pem and ca-key.pem`, {
      hint: "give --out the folder with the authority's key, or a new one",
    });
  }
  const lifetime: Lifetime = { now, days: AUTHORITY_DAYS };
  return { pair: await makeAuthority(lifetime), isNew: true };
}

function writePair(folder: string, name: string, { certificate, key }: Pair): void {
  replace(join(folder, `${name}-key.pem`), key, 0o600);
  replace(join(folder, `${name}.pem`), certificate, 0o644);
}

/** In one move; a key is never readable by others, not even for a moment. */
function replace(file: string, text: string, mode: number): void {
  const aside = `${file}.${process.pid}.partial`;
  writeFileSync(aside, text, { mode, flag: "wx" });
  renameSync(aside, file);
}

function show(folder: string): void {
  const rows = certificatesOf(folder).map(({ file, certificate }) => [
    file,
    certificate.subject.replaceAll("\n", ", "),
    `valid until ${new Date(certificate.validTo).toISOString().slice(0, 10)}`,
    (certificate.subjectAltName ?? "").replaceAll("DNS:", "").replaceAll("IP Address:", "") || "signs others",
  ]);
  process.stdout.write(textTable(rows));
  for (const role of ["coordinator", "worker"] as const) {
    if (existsSync(join(folder, `${role}.pem`))) readIdentity(folder, role, new Date());
  }
}
