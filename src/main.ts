#!/usr/bin/env node
/** The verbs of `isoerg`: a name, a line, and the file that is loaded when it is asked for. */
import { runProgram, type Verb } from "./cli/program.js";

const verbs: readonly Verb[] = [
  {
    name: "quickstart",
    summary: "CIFAR-10 to a trained, evaluated model and its report, in minutes",
    load: async () => (await import("./cli/quickstart.js")).quickstartCommand(),
  },
  {
    name: "doctor",
    summary: "what this machine has: engines, devices, versions, a self-test of each",
    load: async () => (await import("./cli/doctor.js")).doctorCommand(),
  },
  {
    name: "data",
    summary: "prepare a data set, or inspect a prepared one",
    load: async () => (await import("./cli/data.js")).dataCommand(),
  },
  {
    name: "train",
    summary: "train an experiment with workers on this machine",
    load: async () => (await import("./cli/train.js")).trainCommand(),
  },
  {
    name: "coordinator",
    summary: "lead a run whose workers are on other machines",
    load: async () => (await import("./cli/coordinator.js")).coordinatorCommand(),
  },
  {
    name: "worker",
    summary: "compute for a coordinator",
    load: async () => (await import("./cli/worker.js")).workerCommand(),
  },
  {
    name: "certs",
    summary: "certificates and join token for a run over a network",
    load: async () => (await import("./cli/certs.js")).certsCommand(),
  },
  {
    name: "status",
    summary: "where a run stands",
    load: async () => (await import("./cli/status.js")).statusCommand(),
  },
  {
    name: "watch",
    summary: "follow a run as it goes",
    load: async () => (await import("./cli/watch.js")).watchCommand(),
  },
  {
    name: "stop",
    summary: "save a run and end it",
    load: async () => (await import("./cli/stop.js")).stopCommand(),
  },
  {
    name: "evaluate",
    summary: "accuracy, robustness, energy gaps and samples of a model",
    load: async () => (await import("./cli/evaluate.js")).evaluateCommand(),
  },
  {
    name: "analyze",
    summary: "see the energies of an existing classifier",
    load: async () => (await import("./cli/analyze.js")).analyzeCommand(),
  },
  {
    name: "monitor",
    summary: "watch new data for drift",
    load: async () => (await import("./cli/monitor.js")).monitorCommand(),
  },
  {
    name: "generate",
    summary: "draw samples from a model",
    load: async () => (await import("./cli/generate.js")).generateCommand(),
  },
  {
    name: "report",
    summary: "a run as one HTML page",
    load: async () => (await import("./cli/report.js")).reportCommand(),
  },
  {
    name: "export",
    summary: "a model as safetensors",
    load: async () => (await import("./cli/export.js")).exportCommand(),
  },
  {
    name: "sweep",
    summary: "search the settings of an experiment",
    load: async () => (await import("./cli/sweep.js")).sweepCommand(),
  },
  {
    name: "launch",
    summary: "start a run on other machines and follow it",
    load: async () => (await import("./cli/launch.js")).launchCommand(),
  },
  {
    name: "k8s",
    summary: "a run as Kubernetes objects",
    load: async () => (await import("./cli/k8s.js")).k8sCommand(),
  },
  {
    name: "slurm",
    summary: "a run as an sbatch script",
    load: async () => (await import("./cli/slurm.js")).slurmCommand(),
  },
  {
    name: "bench",
    summary: "measure this machine: the training step, the all-reduce",
    load: async () => (await import("./cli/bench.js")).benchCommand(),
  },
];

const status = await runProgram(verbs, process.argv.slice(2));
// A failed command may leave sockets open; a finished one has closed what it opened.
if (status !== 0) process.exit(status);
