/** Where jobs run: the seam between a study and processes, clusters or, in tests, a function. */
import type { Job, Result } from "./job.js";

export interface JobRequest {
  readonly job: Job;
  /** The job of another trial that is gone on from, where `job.copyOf` names one. */
  readonly source: Job | null;
}

export interface Runner {
  /**
   * Runs a job to its result. A training that diverged or broke is a result. May be called again for a job whose result was never
   * recorded, and then ends with the same one.
   * @throws whatever the signal was aborted with, and IsoergError where jobs can't run at all.
   */
  run(request: JobRequest, signal: AbortSignal): Promise<Result>;
}
