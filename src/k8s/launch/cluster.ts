/**
 * The few things that a launcher asks of an API server, over @kubernetes/client-node: apply, suspend, watch, read a log. Watches
 * begin with a list and begin again where the server ends them or has forgotten where they stood (410), as informers do.
 */
import { PassThrough } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import {
  ApiException,
  BatchV1Api,
  CoreV1Api,
  type CoreV1Event,
  KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  Log,
  NetworkingV1Api,
  PatchStrategy,
  type V1Job,
  type V1NetworkPolicy,
  type V1ObjectMeta,
  type V1Pod,
  Watch,
} from "@kubernetes/client-node";
import { IsoergError } from "../../util/error.js";
import { asClientObject, type Manifest } from "../objects.js";
import { refusalOf } from "./refusal.js";

export interface ClusterOptions {
  /** Default: KUBECONFIG, ~/.kube/config, or the account of the pod that this runs in. */
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace: string | null;
}

/** What can be followed; by labels, and events, which have none, by fields. */
interface Followed {
  readonly jobs: V1Job;
  readonly pods: V1Pod;
  readonly events: CoreV1Event;
}

function queryFor(kind: keyof Followed, selector: string): { labelSelector: string } | { fieldSelector: string } {
  return kind === "events" ? { fieldSelector: selector } : { labelSelector: selector };
}

const FIELD_MANAGER = "isoerg";
const RETRY_MS = { first: 250, longest: 10_000 };

export class Cluster {
  readonly namespace: string;
  readonly server: string;
  readonly #config: KubeConfig;
  readonly #objects: KubernetesObjectApi;

  /** @throws IsoergError USAGE where no cluster is named. */
  constructor({ kubeconfig, context, namespace }: ClusterOptions) {
    const config = new KubeConfig();
    try {
      if (kubeconfig === undefined) config.loadFromDefault();
      else config.loadFromFile(kubeconfig);
    } catch (cause) {
      throw new IsoergError("USAGE", `the kubeconfig can't be read: ${(cause as Error).message}`, { cause });
    }
    if (context !== undefined) {
      if (config.getContextObject(context) === null) throw new IsoergError("USAGE", `the kubeconfig has no context '${context}'`);
      config.setCurrentContext(context);
    }
    const cluster = config.getCurrentCluster();
    if (cluster === null)
      throw new IsoergError("USAGE", "no cluster: there is no kubeconfig", { hint: "Set KUBECONFIG or give --kubeconfig." });
    this.#config = config;
    this.#objects = KubernetesObjectApi.makeApiClient(config);
    this.server = cluster.server;
    this.namespace = namespace ?? config.getContextObject(config.getCurrentContext())?.namespace ?? "default";
  }

  /**
   * Server-side apply: made where it is missing, changed where it differs.
   * @returns the uid of what is there now @throws IsoergError that says which object and why
   */
  async apply(object: Manifest): Promise<string> {
    return (await this.#apply(object, undefined)).uid ?? "";
  }

  /**
   * Asks whether an object would be taken, and changes nothing.
   * @returns whether one of that name is being deleted: what is applied to it goes with it @throws IsoergError as `apply` does
   */
  async check(object: Manifest): Promise<{ readonly isLeaving: boolean }> {
    const { deletionTimestamp } = await this.#apply(object, "All");
    return { isLeaving: deletionTimestamp !== undefined };
  }

  async #apply(object: Manifest, dryRun: "All" | undefined): Promise<V1ObjectMeta> {
    const { namespace = this.namespace } = object.metadata;
    const whole = { ...object, metadata: { ...object.metadata, namespace } };
    try {
      // A claim can hardly be changed once it is bound, and is shared: one that is there is taken as it is.
      const claim = object.kind === "PersistentVolumeClaim" ? await this.#read(whole) : null;
      if (claim !== null) return claim.metadata ?? {};
      const admitted = asClientObject(await this.#asAdmitted(whole));
      const { metadata } = await this.#objects.patch(admitted, undefined, dryRun, FIELD_MANAGER, false, PatchStrategy.ServerSideApply);
      return metadata ?? {};
    } catch (error) {
      throw refusalOf(error, `${object.kind} ${object.metadata.name}`, this.server);
    }
  }

  /**
   * Deletes the network policies that were applied here for a run and are not among its objects any more: what is left of one would
   * let its pods out by a way that nobody asked for. Those that others made stay. @returns names of what is deleted
   */
  async prunePolicies(labelSelector: string, objects: readonly Manifest[]): Promise<readonly string[]> {
    const api = this.#config.makeApiClient(NetworkingV1Api);
    const wanted = new Set(objects.filter(({ kind }) => kind === "NetworkPolicy").map(({ metadata }) => metadata.name));
    try {
      const { items } = await api.listNamespacedNetworkPolicy({ namespace: this.namespace, labelSelector });
      const isOurs = ({ metadata }: V1NetworkPolicy): boolean =>
        (metadata?.managedFields ?? []).some(({ manager, operation }) => manager === FIELD_MANAGER && operation === "Apply");
      const stray = items
        .filter((policy) => isOurs(policy) && !wanted.has(policy.metadata?.name ?? ""))
        .map(({ metadata }) => metadata?.name ?? "");
      for (const name of stray) await api.deleteNamespacedNetworkPolicy({ namespace: this.namespace, name });
      return stray;
    } catch (error) {
      throw refusalOf(error, `network policies of ${this.namespace}`, this.server);
    }
  }

  /** A Job that is queued begins suspended; whether it is suspended later is the queue's to say, and not taken back. */
  async #asAdmitted(object: Manifest): Promise<Manifest> {
    const { spec } = object as Manifest & { readonly spec?: { readonly suspend?: boolean } };
    if (spec?.suspend === undefined) return object;
    const there = (await this.#read(object)) as { readonly spec?: { readonly suspend?: boolean } } | null;
    return there === null ? object : ({ ...object, spec: { ...spec, suspend: there.spec?.suspend ?? false } } as Manifest);
  }

  /** What is there of that kind and name; null for nothing. */
  async #read(object: Manifest): Promise<KubernetesObject | null> {
    try {
      return await this.#objects.read(object);
    } catch (error) {
      if (error instanceof ApiException && error.code === 404) return null;
      throw error;
    }
  }

  /** Ends a Job's pods in order and keeps the Job. One that is gone already is no error. */
  async suspend(job: string): Promise<void> {
    const body = { apiVersion: "batch/v1", kind: "Job", metadata: { name: job, namespace: this.namespace }, spec: { suspend: true } };
    await this.#objects.patch(body, undefined, undefined, FIELD_MANAGER, undefined, PatchStrategy.MergePatch).catch((error: unknown) => {
      if (!(error instanceof ApiException) || error.code !== 404) throw refusalOf(error, `Job ${job}`, this.server);
    });
  }

  /** Deletes a Job and its pods. One that is gone already is no error. */
  async remove(job: string): Promise<void> {
    const asked = { name: job, namespace: this.namespace, propagationPolicy: "Background" };
    await this.#config
      .makeApiClient(BatchV1Api)
      .deleteNamespacedJob(asked)
      .catch((error: unknown) => {
        if (!(error instanceof ApiException) || error.code !== 404) throw refusalOf(error, `Job ${job}`, this.server);
      });
  }

  /**
   * Calls `onChange` with all objects of a kind that are there, at first and after each change, until the signal.
   * @throws IsoergError where the server refuses (no right, no such namespace); anything passing is tried again
   */
  async follow<Kind extends keyof Followed>(
    kind: Kind,
    selector: string,
    onChange: (objects: readonly Followed[Kind][]) => void,
    signal: AbortSignal,
  ): Promise<void> {
    type Item = Followed[Kind];
    let failures = 0;
    while (!signal.aborted) {
      try {
        const list = await this.#list(kind, selector);
        failures = 0;
        const known = new Map<string, Item>((list.items as unknown as Item[]).map((item) => [item.metadata?.uid ?? "", item]));
        onChange([...known.values()]);
        await this.#watch(kind, { ...queryFor(kind, selector), resourceVersion: list.metadata?.resourceVersion }, signal, (type, item) => {
          const object = item as Item;
          if (type === "DELETED") known.delete(object.metadata?.uid ?? "");
          else if (type === "ADDED" || type === "MODIFIED") known.set(object.metadata?.uid ?? "", object);
          else return;
          onChange([...known.values()]);
        });
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ApiException && error.code >= 400 && error.code < 500 && error.code !== 410 && error.code !== 429)
          throw refusalOf(error, `${kind} of ${this.namespace}`, this.server);
        if (++failures > MAX_FAILURES) throw refusalOf(error, `${kind} of ${this.namespace}`, this.server);
      }
      const longest = Math.min(RETRY_MS.longest, RETRY_MS.first * 2 ** failures);
      await pause(Math.random() * longest, undefined, { signal }).catch(() => {});
    }
  }

  /** The pods that there are now. */
  async pods(labelSelector: string): Promise<readonly V1Pod[]> {
    return (await this.#list("pods", labelSelector)).items as V1Pod[];
  }

  async #list(kind: keyof Followed, selector: string) {
    const asked = { namespace: this.namespace, ...queryFor(kind, selector) };
    if (kind === "jobs") return await this.#config.makeApiClient(BatchV1Api).listNamespacedJob(asked);
    const core = this.#config.makeApiClient(CoreV1Api);
    return kind === "pods" ? await core.listNamespacedPod(asked) : await core.listNamespacedEvent(asked);
  }

  /** Settles when the watch ends, in whatever way: the list that follows tells what was missed. */
  async #watch(
    kind: keyof Followed,
    query: { labelSelector?: string; fieldSelector?: string; resourceVersion: string | undefined },
    signal: AbortSignal,
    onEvent: (type: string, object: unknown) => void,
  ): Promise<void> {
    const path = `${kind === "jobs" ? "/apis/batch/v1" : "/api/v1"}/namespaces/${this.namespace}/${kind}`;
    await new Promise<void>((resolve) => {
      let request: AbortController | null = null;
      const done = (): void => {
        signal.removeEventListener("abort", stop); // a run of weeks has thousands of watches
        resolve();
      };
      const stop = (): void => {
        request?.abort();
        done();
      };
      signal.addEventListener("abort", stop, { once: true });
      new Watch(this.#config).watch(path, { ...query, allowWatchBookmarks: true }, onEvent, done).then((begun) => {
        request = begun;
        if (signal.aborted) begun.abort();
      }, done);
    });
  }

  /**
   * Lines of a container's log with their times, from the start or a time on; with `follow` until it ends or the signal. None of a
   * pod that is gone, whose log went with it. @throws IsoergError where the server refuses
   */
  async *log(
    pod: string,
    container: string,
    { follow, sinceTime, tailLines, signal }: { follow: boolean; sinceTime?: string; tailLines?: number; signal: AbortSignal },
  ): AsyncGenerator<{ readonly time: string; readonly text: string }> {
    const stream = new PassThrough();
    const options = {
      follow,
      timestamps: true,
      ...(sinceTime !== undefined && { sinceTime }),
      ...(tailLines !== undefined && { tailLines }),
    };
    const request = await new Log(this.#config).log(this.namespace, pod, container, stream, options).catch((error: unknown) => {
      if (error instanceof ApiException && error.code === 404) return null;
      throw refusalOf(error, `log of ${pod}`, this.server);
    });
    if (request === null) return;
    const stop = (): void => {
      request.abort();
      stream.end();
    };
    signal.addEventListener("abort", stop, { once: true });
    let rest = "";
    try {
      for await (const chunk of stream.setEncoding("utf8") as AsyncIterable<string>) {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) yield parted(line);
      }
      if (rest !== "") yield parted(rest);
    } finally {
      signal.removeEventListener("abort", stop);
      request.abort();
    }
  }
}

/** In a row, before a server that doesn't answer counts as gone: some minutes. */
const MAX_FAILURES = 40;

function parted(line: string): { readonly time: string; readonly text: string } {
  const at = line.indexOf(" ");
  return { time: line.slice(0, at), text: line.slice(at + 1) };
}
