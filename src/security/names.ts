/** The name that workers ask of each other: what a worker's certificate is good for, on whatever address. */
export const WORKER_NAME = "worker.isoerg.internal";
/** Stands in for a coordinator that is called by an IP address, where a handshake asks for a name. */
export const COORDINATOR_NAME = "coordinator.isoerg.internal";
