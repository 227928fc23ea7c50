/** GET /metrics of a run that is being led, for Prometheus. It listens only where it is told to. */
import { createServer } from "node:http";
import { CONTENT_TYPE, prometheusText } from "../../report/prometheus.js";
import { IsoergError } from "../../util/error.js";
import type { RunStatus } from "../../wire/messages.js";

/** @returns what ends it. @throws IsoergError USAGE when the address can't be listened on. */
export async function serveMetrics(listen: string, status: () => RunStatus): Promise<() => void> {
  return serveMetricsText(listen, () => prometheusText(status()));
}

/** The same of any text in the exposition format. */
export async function serveMetricsText(listen: string, text: () => string): Promise<() => void> {
  const at = listen.lastIndexOf(":");
  const [host, port] = [listen.slice(0, at).replace(/^\[|\]$/g, ""), Number(listen.slice(at + 1))];
  if (at <= 0 || !Number.isInteger(port) || port > 65_535) throw new IsoergError("USAGE", `--metrics ${listen} is not HOST:PORT`);
  const server = createServer((request, response) => {
    const isKnown = request.method === "GET" && request.url === "/metrics";
    response.writeHead(isKnown ? 200 : 404, { "content-type": isKnown ? CONTENT_TYPE : "text/plain" });
    response.end(isKnown ? text() : "GET /metrics\n");
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => {
      reject(new IsoergError("USAGE", `--metrics: can't listen on ${listen}: ${cause.message}`, { hint: "Choose another port.", cause }));
    });
    server.listen(port, host, resolve);
  });
  return () => {
    server.close();
    server.closeAllConnections();
  };
}
