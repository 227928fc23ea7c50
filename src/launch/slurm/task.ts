/**
 * What each task of the srun is: a worker, and around it a shell that starts it again where it died, so that a fault of one process
 * costs a generation and not the allocation. Exit codes decide, those of src/cli/README.md: 0 is the end, 2 would happen again (so
 * would what a shell says of a program that it can't run, 126 and 127); all others, 137 of a kill for memory among them, are tried
 * again after a pause that doubles, so many times in one job. Not where the job is told to end, nor once the run has ended: the batch
 * script leaves a word of that beside this one.
 *
 * SIGTERM is passed on to the worker. Sites differ in whether Slurm tells only the task or all its processes; a worker takes two
 * signals that come at once for one (src/cli/stop-signals.ts).
 */
import type { SlurmOptions } from "./options.js";

/** Name of the file that says that the run has ended, in the job's folder. */
export const OVER_FILE = "over";

const LONGEST_PAUSE_SECONDS = 60;

/** For bash: the exit status of a process, also where a signal (which sets `terminated`) comes while it is waited for. */
export const ENDED_FUNCTION = `ended() {
  local code again
  wait "$1"
  code=$?
  while [ -n "$terminated" ] && [ "$code" -gt 128 ]; do
    wait "$1"
    again=$?
    [ "$again" -lt 0 ] && break # it ended just as the signal came, and bash 5.2 has lost its status: told to end is what is known
    [ "$again" -eq 127 ] && break
    [ "$again" -eq "$code" ] && ! kill -0 "$1" 2>/dev/null && break
    code=$again
  done
  return "$code"
}`;

/** A script for bash, that lies in the job's folder; its words are the worker's command line. */
export function taskScript({ gpus, maxRestarts, restartPauseSeconds }: SlurmOptions): string {
  return `# A task of the run: its worker, started again where it died.
set -uo pipefail
folder=$(dirname "$0")
terminated=
worker=
waiting=
trap 'terminated=1; kill -TERM $worker $waiting 2>/dev/null' TERM
${ENDED_FUNCTION}
# All of it is read before it begins: the folder goes when the job ends.
main() {
  local restarts=0 pause=${restartPauseSeconds} code
  while :; do
    "$@" --id "worker-$SLURM_PROCID"${deviceWords(gpus)} &
    worker=$!
    [ -z "$terminated" ] || kill -TERM "$worker" 2>/dev/null
    ended "$worker"
    code=$?
    worker=
    case $code in 0 | 2 | 126 | 127) exit "$code" ;; esac
    [ -z "$terminated" ] && [ -d "$folder" ] && [ ! -e "$folder/${OVER_FILE}" ] || exit "$code"
    if [ "$restarts" -ge ${maxRestarts} ]; then
      echo "worker-$SLURM_PROCID ended with $code; it was started again $restarts times, and is given up" >&2
      exit "$code"
    fi
    restarts=$((restarts + 1))
    echo "worker-$SLURM_PROCID ended with $code; it is started again in $pause s ($restarts of ${maxRestarts})" >&2
    sleep "$pause" &
    waiting=$!
    [ -z "$terminated" ] || kill "$waiting" 2>/dev/null # told before there was anything to end
    wait "$waiting"
    kill "$waiting" 2>/dev/null
    waiting=
    [ -z "$terminated" ] && [ ! -e "$folder/${OVER_FILE}" ] || exit "$code"
    pause=$((2 * pause < ${LONGEST_PAUSE_SECONDS} ? 2 * pause : ${LONGEST_PAUSE_SECONDS}))
  done
}
main "$@"
`;
}

/** One GPU a worker: all of a node's are visible to each task, which takes the one of its own number. */
function deviceWords(gpus: number): string {
  return gpus > 0 ? ' --engine torch --device "cuda:$SLURM_LOCALID"' : "";
}
