/** The logs of pods, as a kubelet keeps and streams them: from a line on, to the end of the container, broken off when a test says so. */
import type { ServerResponse } from "node:http";

export interface LogLine {
  readonly time: string;
  readonly text: string;
}

interface Log {
  readonly lines: LogLine[];
  readonly listeners: Set<() => void>;
  isOver: boolean;
}

export class FakeLogs {
  readonly #logs = new Map<string, Log>();
  readonly #streams = new Map<string, Set<ServerResponse>>();

  has(pod: string): boolean {
    return this.#logs.has(pod);
  }

  write(pod: string, texts: readonly string[]): void {
    const log = this.#logOf(pod);
    for (const text of texts) {
      const nanos = String(log.lines.length).padStart(9, "0");
      log.lines.push({ time: `2026-01-01T00:00:00.${nanos}Z`, text });
    }
    for (const listener of log.listeners) listener();
  }

  end(pod: string): void {
    const log = this.#logOf(pod);
    log.isOver = true;
    for (const listener of log.listeners) listener();
  }

  forget(pod: string): void {
    this.end(pod);
    this.#logs.delete(pod);
  }

  /** Breaks the streams of a log that goes on, as a kubelet that restarts does. */
  break(pod: string): void {
    for (const response of this.#streams.get(pod) ?? []) response.end();
    this.#streams.delete(pod);
  }

  send(response: ServerResponse, pod: string, query: URLSearchParams): void {
    const log = this.#logOf(pod);
    const tail = Number(query.get("tailLines") ?? Number.POSITIVE_INFINITY);
    const since = query.get("sinceTime") ?? "";
    let sent = Number.isFinite(tail) ? Math.max(0, log.lines.length - tail) : 0;
    response.writeHead(200, { "content-type": "text/plain" });
    response.flushHeaders();
    const send = (): void => {
      if (response.writableEnded) return;
      for (const { time, text } of log.lines.slice(sent)) {
        if (time.slice(0, 19) >= since.slice(0, 19)) response.write(query.get("timestamps") === "true" ? `${time} ${text}\n` : `${text}\n`);
      }
      sent = log.lines.length;
      if (log.isOver || query.get("follow") !== "true") response.end();
    };
    log.listeners.add(send);
    this.#streams.set(pod, (this.#streams.get(pod) ?? new Set()).add(response));
    response.on("close", () => log.listeners.delete(send));
    send();
  }

  #logOf(pod: string): Log {
    const found = this.#logs.get(pod) ?? { lines: [], isOver: false, listeners: new Set<() => void>() };
    this.#logs.set(pod, found);
    return found;
  }
}
