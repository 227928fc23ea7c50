/**
 * A run as one sbatch script: the coordinator on the first node, in the batch step, and a worker for each GPU (or node) as the tasks
 * of one srun. Everything that it needs is in it: the experiment, and certificates and a join token that are made when the job
 * begins, in a folder of mode 700 beside the run's that goes when the job ends.
 *
 * Slurm starts, kills and queues again; the exit codes of src/cli/README.md decide. 75 and 143 (all that was done is saved) queue the
 * job again, unless Slurm itself is ending it (cancelled, preempted: its state is no longer RUNNING, and Slurm requeues what it
 * preempts); 0, 1 and 2 are the job's end. Before its time is over Slurm tells the batch script alone (--signal=B:TERM), so that
 * the coordinator saves while all workers are there. A worker that dies is started again within its task (task.ts).
 */
import { configToYaml } from "../../config/print.js";
import type { Config } from "../../config/schema.js";
import { numWorkers, type SlurmOptions } from "./options.js";
import { ENDED_FUNCTION, OVER_FILE, taskScript } from "./task.js";

/** Below its minimum a run waits so long for workers that are started again: a pause, and an engine on a cold device. */
const REJOIN_SECONDS = 180;
/** A coordinator that is gone doesn't come again in this job. */
const RECONNECT_SECONDS = 30;
const JOIN_SECONDS = 900;
/** After the coordinator's end; a worker that hangs hears a second SIGTERM then. */
const LEAVE_SECONDS = 60;
const FIRST_PORT = 20_000;
const NUM_PORTS = 10_000;

export function renderSlurm(config: Config, options: SlurmOptions): string {
  return `#!/usr/bin/env bash
# The run '${options.name}' under Slurm, written by \`isoerg slurm render\`. Submit it with: sbatch THIS_FILE
# Submitted again, or queued again by itself, it goes on from the last checkpoint of ${options.run}.
${directives(options)}
set -uo pipefail
umask 077

# Where isoerg is on the nodes, and a folder for all that the run produces, on storage that all nodes share.
isoerg=(${options.program.map(quoted).join(" ")})
run=${quoted(options.run)}
# Two jobs on one node seldom have the same port; one that is taken ends the job with 2, and says so.
port=$((${FIRST_PORT} + SLURM_JOB_ID % ${NUM_PORTS}))

# The job's own folder: experiment, certificates and join token, readable by nobody else.
job=$run.job-$SLURM_JOB_ID
node=\${SLURMD_NODENAME:-$(hostname)}
full=$(hostname -f 2>/dev/null || hostname)
forget() { rm -rf "$job"; }
trap forget EXIT
forget
mkdir -p "$(dirname "$job")" && mkdir -m 700 "$job" || exit 1
cat >"$job/experiment.yaml" <<'END_OF_EXPERIMENT'
${configToYaml(config).trimEnd()}
END_OF_EXPERIMENT
cat >"$job/worker.sh" <<'END_OF_WORKER'
${taskScript(options).trimEnd()}
END_OF_WORKER
"\${isoerg[@]}" certs make --out "$job" --host "$node" "$full" >/dev/null || exit
"\${isoerg[@]}" certs token "$job/token" >/dev/null || exit
rm -f "$job/ca-key.pem"
secured=(--tls "$job" --token-file "$job/token")

# The first SIGTERM is passed on, to the coordinator: it saves, and ends with 143. A second one would not let it save.
terminated=
coordinator=
trap 'if [ -z "$terminated" ]; then terminated=1; kill -TERM "$coordinator" 2>/dev/null; fi' TERM
# The exit status of a process, also where a signal comes while it is waited for.
${ENDED_FUNCTION}

"\${isoerg[@]}" coordinator "$job/experiment.yaml" --resume --run "$run" --listen "0.0.0.0:$port" \\
  --workers ${numWorkers(options)} --min-workers ${options.minWorkers} \\
  --join-timeout ${JOIN_SECONDS} --rejoin-timeout ${REJOIN_SECONDS} "\${secured[@]}" &
coordinator=$!
[ -z "$terminated" ] || kill -TERM "$coordinator"

srun --cpus-per-task=${options.cpus} --kill-on-bad-exit=0 --wait=0 bash "$job/worker.sh" \\
  "\${isoerg[@]}" worker --coordinator "$node:$port,$full:$port" \\
  --connect-timeout ${JOIN_SECONDS} --reconnect-timeout ${RECONNECT_SECONDS} --threads ${options.cpus} "\${secured[@]}" &
workers=$!

ended "$coordinator"
code=$?
: >"$job/${OVER_FILE}" # no worker is started again from here on
# Workers of a coordinator that has saved wait for the next one; that comes with workers of its own.
[ "$code" -eq 0 ] || kill -TERM "$workers" 2>/dev/null
(sleep ${LEAVE_SECONDS} && kill -TERM "$workers") >/dev/null 2>&1 &
guard=$!
ended "$workers"
workers_code=$?
kill "$guard" 2>/dev/null
# Too few workers, because none could begin: the same would happen again.
[ "$code" -eq 75 ] && [ "$workers_code" -eq 2 ] && code=2

case $code in
  75 | 143)
    if [ "\${SLURM_RESTART_COUNT:-0}" -ge ${options.maxRequeues} ]; then
      echo "queued again ${options.maxRequeues} times already; submit it again to go on" >&2
    elif scontrol show job -o "$SLURM_JOB_ID" | grep -q 'JobState=RUNNING'; then
      forget
      scontrol requeue "$SLURM_JOB_ID" && echo "queued again: it goes on from the last checkpoint" >&2
    fi
    ;;
esac
exit "$code"
`;
}

function directives(options: SlurmOptions): string {
  const { gpus, memoryMiB, time, partition, account, qos } = options;
  const lines = [
    `job-name=${options.name}`,
    `nodes=${options.nodes}`,
    `ntasks-per-node=${Math.max(1, gpus)}`,
    `cpus-per-task=${options.cpus}`,
    ...(gpus > 0 ? [`gpus-per-node=${gpus}`] : []),
    ...(memoryMiB === null ? [] : [`mem=${memoryMiB * Math.max(1, gpus)}M`]),
    ...(time === null ? [] : [`time=${time}`]),
    ...(partition === null ? [] : [`partition=${partition}`]),
    ...(account === null ? [] : [`account=${account}`]),
    ...(qos === null ? [] : [`qos=${qos}`]),
    "requeue",
    "open-mode=append",
    `signal=B:TERM@${options.graceSeconds}`,
    "output=%x-%j.out",
  ];
  return lines.map((line) => `#SBATCH --${line}`).join("\n");
}

/** For bash; plain words stay as they are. */
function quoted(word: string): string {
  return /^[\w./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
