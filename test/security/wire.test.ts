/**
 * A server with certificates and a token, and those who knock: with the right ones, with none, with another authority's, expired, under
 * another name, without the token. All over real sockets on loopback.
 */
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { issue, makeAuthority, type Pair } from "../../src/security/certificates.js";
import { type Identity, readIdentity } from "../../src/security/identity.js";
import { WORKER_NAME } from "../../src/security/names.js";
import { checkExposure, hostOf, isLoopback, NO_SECURITY, type Security } from "../../src/security/security.js";
import { newToken, readToken, Token, withoutSecrets } from "../../src/security/token.js";
import { callUnary, openClient, waitForCoordinator } from "../../src/wire/client.js";
import type { RunStatus } from "../../src/wire/messages.js";
import { runControl } from "../../src/wire/proto.js";
import { openServer, type RunningServer } from "../../src/wire/server.js";

const now = new Date();
const year = { now, days: 365 };
const token = new Token(newToken());
const status = { runId: "r", state: "training", metrics: {}, members: [] } as unknown as RunStatus;

let authority: Pair;
let coordinator: Identity;
let worker: Identity;
let server: RunningServer;
const folder = mkdtempSync(join(tmpdir(), "isoerg-tls-"));

function identity(ca: Pair, { certificate, key }: Pair): Identity {
  return { authority: Buffer.from(ca.certificate), certificate: Buffer.from(certificate), key: Buffer.from(key) };
}

function serve(security: Security): Promise<RunningServer> {
  const handlers = { status: (_: unknown, reply: (error: null, status: RunStatus) => void) => reply(null, status) };
  const others = { watch: () => {}, stop: () => {} };
  return openServer("127.0.0.1:0", [{ definition: runControl, handlers: { ...handlers, ...others } }], security);
}

async function ask(address: string, security: Security, callee: "coordinator" | "worker" = "coordinator"): Promise<RunStatus> {
  const client = openClient(address, security, callee);
  try {
    if (callee === "coordinator") await waitForCoordinator(client, address, 1_500, security);
    return await callUnary(client, runControl.status, {}, { deadline: Date.now() + 3_000 });
  } finally {
    client.close();
  }
}

beforeAll(async () => {
  authority = await makeAuthority(year);
  coordinator = identity(authority, await issue(authority, "coordinator", ["localhost", "127.0.0.1"], year));
  worker = identity(authority, await issue(authority, "worker", [WORKER_NAME], year));
  server = await serve({ identity: coordinator, token });
});

afterAll(async () => {
  await server.close(0);
  rmSync(folder, { recursive: true, force: true });
});

describe("mutual TLS", () => {
  it("lets in who has a certificate of the authority and the token", async () => {
    expect(await ask(server.address, { identity: worker, token })).toMatchObject({ runId: "r" });
    expect(await ask(server.address.replace("127.0.0.1", "localhost"), { identity: worker, token })).toMatchObject({ runId: "r" });
  });

  it("says that a server was signed by another authority", async () => {
    const other = await makeAuthority(year);
    const stranger = identity(other, await issue(other, "worker", [WORKER_NAME], year));
    await expect(ask(server.address, { identity: stranger, token })).rejects.toThrow(/signed by another authority/);
  });

  it("says that a client's own certificate is refused", async () => {
    const other = await makeAuthority(year);
    const half = { ...identity(other, await issue(other, "worker", [WORKER_NAME], year)), authority: coordinator.authority };
    await expect(ask(server.address, { identity: half, token })).rejects.toThrow(/refuses this process's certificate/);
  });

  it("says that a server's certificate has expired", async () => {
    const long = { now: new Date(now.getTime() - 40 * 86_400_000), days: 400 };
    const old = await makeAuthority(long);
    const expired = identity(old, await issue(old, "coordinator", ["127.0.0.1"], { ...long, days: 20 }));
    const late = await serve({ identity: expired, token: null });
    const client = identity(old, await issue(old, "worker", [WORKER_NAME], long));
    await expect(ask(late.address, { identity: client, token: null })).rejects.toThrow(/has expired/);
    await late.close(0);
  });

  it("says which name a certificate is not good for", async () => {
    const misnamed = identity(authority, await issue(authority, "coordinator", ["elsewhere"], year));
    const away = await serve({ identity: misnamed, token: null });
    await expect(ask(away.address, { identity: worker, token: null })).rejects.toThrow(/not good for the name '127.0.0.1'/);
    await away.close(0);
  });

  it("does not take a worker's certificate for the coordinator's, nor the other way round", async () => {
    const posing = await serve({ identity: worker, token: null });
    await expect(ask(posing.address, { identity: worker, token: null })).rejects.toThrow(/not good for the name/);
    expect(await ask(posing.address, { identity: worker, token: null }, "worker")).toMatchObject({ runId: "r" });
    await posing.close(0);
    await expect(ask(server.address, { identity: worker, token }, "worker")).rejects.toThrow(/reached|refused/);
  });

  it("tells plaintext from TLS on either side", async () => {
    await expect(ask(server.address, NO_SECURITY)).rejects.toThrow(/speaks TLS, and this process was given no certificates/);
    const plain = await serve(NO_SECURITY);
    await expect(ask(plain.address, { identity: worker, token: null })).rejects.toThrow(/does not speak TLS|no coordinator answers/);
    await plain.close(0);
  });
});

describe("the join token", () => {
  it("is asked for, on every call", async () => {
    await expect(ask(server.address, { identity: worker, token: null })).rejects.toThrow(/asks for a join token: give --token-file/);
    await expect(ask(server.address, { identity: worker, token: new Token(newToken()) })).rejects.toThrow(/not that of this run/);
  });

  it("guards plaintext as well", async () => {
    const plain = await serve({ identity: null, token });
    expect(await ask(plain.address, { identity: null, token })).toMatchObject({ runId: "r" });
    await expect(ask(plain.address, NO_SECURITY)).rejects.toThrow(/asks for a join token/);
    await plain.close(0);
  });

  it("shows in no dump, and leaves the command line that is written down", () => {
    const secret = new Token("0123456789abcdef");
    expect(JSON.stringify({ secret }) + String(secret)).not.toContain("0123456789abcdef");
    expect(Object.values(secret).concat(Object.keys(secret))).toEqual([]);
    expect(withoutSecrets(["train", "x", "--token-file", "/s", "--tls", "d", "--token=abc"])).toEqual([
      "train",
      "x",
      "--token-file",
      "[redacted]",
      "--tls",
      "d",
      "--token=[redacted]",
    ]);
  });

  it("comes from a file that holds one", () => {
    const file = join(folder, "token");
    writeFileSync(file, "0123456789abcdef\n");
    expect(readToken(file).matches("0123456789abcdef")).toBe(true);
    expect(readToken(file).matches("0123456789abcdeg")).toBe(false);
    for (const text of ["", "short", "with a space in the middle"]) {
      writeFileSync(file, text);
      expect(() => readToken(file)).toThrow(/token/);
    }
    expect(() => readToken(join(folder, "none"))).toThrow(/can't be read/);
  });
});

describe("a folder of certificates", () => {
  const put = (files: Record<string, string>): string => {
    const place = mkdtempSync(join(folder, "certs-"));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(place, name), text);
    return place;
  };
  const text = (bytes: Buffer): string => bytes.toString();

  it("is read by role, or as Kubernetes names the files", () => {
    const own = { "worker.pem": text(worker.certificate), "worker-key.pem": text(worker.key), "ca.pem": text(worker.authority) };
    expect(readIdentity(put(own), "worker", now).certificate).toEqual(worker.certificate);
    const secret = { "tls.crt": text(worker.certificate), "tls.key": text(worker.key), "ca.crt": text(worker.authority) };
    expect(readIdentity(put(secret), "coordinator", now).key).toEqual(worker.key);
  });

  it("that does not fit together is named by file", async () => {
    const own = { "worker.pem": text(worker.certificate), "worker-key.pem": text(worker.key), "ca.pem": text(worker.authority) };
    expect(() => readIdentity(put({}), "worker", now)).toThrow(/there is no .*ca\.pem/);
    expect(() => readIdentity(put({ ...own, "worker-key.pem": text(coordinator.key) }), "worker", now)).toThrow(/is not the key of/);
    expect(() => readIdentity(put({ ...own, "worker.pem": "nothing" }), "worker", now)).toThrow(/worker\.pem holds no certificate/);
    const other = await makeAuthority(year);
    expect(() => readIdentity(put({ ...own, "ca.pem": other.certificate }), "worker", now)).toThrow(/was not signed by/);
    const later = new Date(now.getTime() + 366 * 86_400_000);
    expect(() => readIdentity(put(own), "worker", later)).toThrow(/worker\.pem has expired/);
    expect(statSync(folder).isDirectory()).toBe(true);
  });
});

describe("plaintext", () => {
  it("stays on this machine unless asked otherwise", () => {
    const secured: Security = { identity: worker, token: null };
    for (const address of ["127.0.0.1:7070", "127.8.8.8:0", "localhost:1", "[::1]:5", "::1"]) {
      expect(isLoopback(address), address).toBe(true);
      checkExposure("listening", address, NO_SECURITY, { insecure: false });
    }
    for (const address of ["0.0.0.0:7070", "[::]:1", "10.0.0.5:7070", "first-machine:4700", "127.0.0.1.example.org:1"]) {
      expect(isLoopback(address), address).toBe(false);
      expect(() => checkExposure("listening", address, NO_SECURITY, { insecure: false })).toThrow(/without TLS/);
      checkExposure("listening", address, NO_SECURITY, { insecure: true });
      checkExposure("listening", address, secured, { insecure: false });
    }
    expect(hostOf("[fe80::1]:77")).toBe("fe80::1");
  });
});
