/** `isoerg bench`: how fast this machine computes and communicates. What is measured, and how, stands in bench/. */
import { Command } from "commander";
import { allReduceCommand } from "./bench/allreduce.js";
import { scalingCommand } from "./bench/scaling.js";
import { stepCommand } from "./bench/step.js";

export function benchCommand(): Command {
  return new Command("bench")
    .description("How fast this machine trains.")
    .addCommand(stepCommand())
    .addCommand(allReduceCommand())
    .addCommand(scalingCommand())
    .addHelpText("after", "\nExample:\n  $ isoerg bench step quickstart --threads 2");
}
