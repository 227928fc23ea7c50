/**
 * CURVE on a ring's sockets (ZMTP 3.1, CurveZMQ): each place has a key pair of one generation; its public key is part of its
 * endpoint (`tcp://host:port?key=HEX`), which travels over the workers' sessions. Who connects proves to have the key that the other
 * endpoint of the ring named, and asks for the key of the one it means to reach. So strangers, and workers of an earlier generation,
 * get no further than the handshake.
 *
 * Who may connect to a PULL socket is answered by a ZAP handler (ZeroMQ RFC 27) inside this process, one for the context, by the
 * domain that each socket has for itself. A peer may be early, before this rank has heard who its peers are: its answer waits.
 */
import { setTimeout as pause } from "node:timers/promises";
import { type Context, curveKeyPair, type Pull, type Push, Router } from "zeromq";
import { IsoergError } from "../util/error.js";

/** Keys in ZeroMQ's Z85, 40 characters. */
interface KeyPair {
  readonly publicKey: string;
  readonly secretKey: string;
}

export class CurvePlace {
  readonly #keys: KeyPair = curveKeyPair();
  readonly #domain: string;
  readonly #handler: ZapHandler;
  readonly #context: Context;
  #isOpen = true;
  /** Keys that may connect, once they are known. */
  #allow: (keys: ReadonlySet<string>) => void = () => {};

  private constructor(handler: ZapHandler, context: Context) {
    this.#handler = handler;
    this.#context = context;
    this.#domain = handler.open(
      new Promise((resolve) => {
        this.#allow = resolve;
      }),
    );
  }

  static async create(context: Context): Promise<CurvePlace> {
    return new CurvePlace(await acquireHandler(context), context);
  }

  /** Before it binds. */
  guardPull(pull: Pull): void {
    pull.curveServer = true;
    pull.curveSecretKey = this.#keys.secretKey;
    pull.zapDomain = this.#domain;
  }

  /** Connects a PUSH socket to an endpoint, whose key the other side must have. @throws IsoergError PROTOCOL for one without a key. */
  connect(push: Push, endpoint: string): void {
    const { address, key } = splitEndpoint(endpoint);
    if (key === undefined) {
      throw new IsoergError("PROTOCOL", `${address} offers no key, and this ring is encrypted`, {
        hint: "give all workers --tls, or none",
      });
    }
    push.curveServerKey = key;
    push.curvePublicKey = this.#keys.publicKey;
    push.curveSecretKey = this.#keys.secretKey;
    push.connect(address);
  }

  /** Says whose connections are taken; those that wait are answered now. Once. */
  admit(endpoints: readonly string[]): void {
    this.#allow(new Set(endpoints.flatMap((endpoint) => splitEndpoint(endpoint).key ?? [])));
  }

  endpoint(address: string): string {
    return `${address}?key=${Buffer.from(this.#keys.publicKey, "latin1").toString("hex")}`;
  }

  /** Nobody is let in any more. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#allow(new Set());
    this.#handler.close(this.#domain);
    releaseHandler(this.#context);
  }
}

/** Connects without a key. @throws IsoergError PROTOCOL for an endpoint that asks for one. */
export function connectPlainly(push: Push, endpoint: string): void {
  const { address, key } = splitEndpoint(endpoint);
  if (key !== undefined)
    throw new IsoergError("PROTOCOL", `${address} is encrypted, and this ring is not`, { hint: "give all workers --tls, or none" });
  push.connect(address);
}

/** @throws IsoergError PROTOCOL for a key that is none */
function splitEndpoint(endpoint: string): { readonly address: string; readonly key: string | undefined } {
  const [address, query] = endpoint.split("?", 2) as [string, string | undefined];
  if (query === undefined) return { address, key: undefined };
  const hex = /^key=([0-9a-f]{80})$/.exec(query)?.[1];
  const key = hex && Buffer.from(hex, "hex").toString("latin1");
  if (!key || !/^[0-9a-zA-Z.\-:+=^!/*?&<>()[\]{}@%$#]{40}$/.test(key)) {
    throw new IsoergError("PROTOCOL", `the endpoint ${address} came with a key that is none`);
  }
  return { address, key };
}

/** One a context, while any place of it is open: a socket that waits would keep the process from its end. */
const shared = new WeakMap<Context, { numPlaces: number; handler: Promise<ZapHandler> }>();

function acquireHandler(context: Context): Promise<ZapHandler> {
  const entry = shared.get(context) ?? { numPlaces: 0, handler: ZapHandler.start(context) };
  shared.set(context, entry);
  entry.numPlaces++;
  return entry.handler;
}

function releaseHandler(context: Context): void {
  const entry = shared.get(context);
  if (entry === undefined || --entry.numPlaces > 0) return;
  shared.delete(context);
  void entry.handler.then((handler) => handler.end());
}

const OK = ["200", "OK"] as const;
const DENIED = ["400", "this key is not of this ring"] as const;

class ZapHandler {
  readonly #router: Router;
  readonly #domains = new Map<string, Promise<ReadonlySet<string>>>();
  #count = 0;
  #sending: Promise<void> = Promise.resolve();

  private constructor(router: Router) {
    this.#router = router;
  }

  static async start(context: Context): Promise<ZapHandler> {
    const router = new Router({ context, linger: 0 });
    await bindWhenFree(router);
    const handler = new ZapHandler(router);
    void handler.#serve();
    return handler;
  }

  /** @returns the domain's name */
  open(allowed: Promise<ReadonlySet<string>>): string {
    const domain = `ring-${++this.#count}`;
    this.#domains.set(domain, allowed);
    return domain;
  }

  close(domain: string): void {
    this.#domains.delete(domain);
  }

  end(): void {
    this.#router.close();
  }

  async #serve(): Promise<void> {
    for await (const parts of this.#router) void this.#answer(parts);
  }

  /** [route..., "", version, request id, domain, address, identity, mechanism, public key] -> [route..., "", version, request id, status...] */
  async #answer(parts: readonly Buffer[]): Promise<void> {
    const empty = parts.findIndex((part) => part.length === 0);
    const route = parts.slice(0, empty + 1);
    const [version, requestId, domain, , , mechanism, publicKey] = parts.slice(empty + 1);
    if (empty < 0 || version === undefined || requestId === undefined) return;
    const allowed = mechanism?.toString() === "CURVE" ? await this.#domains.get(domain?.toString() ?? "") : undefined;
    const [code, text] = publicKey !== undefined && allowed?.has(z85(publicKey)) ? OK : DENIED;
    // One send at a time, as ZeroMQ's sockets want it.
    this.#sending = this.#sending.then(() => this.#router.send([...route, version, requestId, code, text, "", ""])).catch(() => {});
  }
}

const BIND_TRIES = 200;

/** ZeroMQ frees the name of a socket that was closed a moment later, on a thread of its own. */
async function bindWhenFree(router: Router): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await router.bind("inproc://zeromq.zap.01");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE" || tries === BIND_TRIES) throw error;
      await pause(5);
    }
  }
}

const Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/** ZeroMQ RFC 32: four bytes as five digits of base 85, the highest first. */
export function z85(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let text = "";
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    const word = view.getUint32(at);
    for (let power = 85 ** 4; power >= 1; power /= 85) text += Z85[Math.floor(word / power) % 85];
  }
  return text;
}
