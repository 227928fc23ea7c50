/** Flags that say how a TensorFlow.js model is fed, the same on every command that opens one. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { InputOptions } from "../../evaluate/foreign/input.js";

export interface InputFlags {
  readonly inputRange?: readonly [number, number];
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  readonly layout?: "nhwc" | "nchw" | "flat";
  readonly channels?: "rgb" | "bgr";
  readonly resize?: boolean;
}

export function addInputOptions(command: Command): Command {
  return command
    .optionsGroup("How a TensorFlow.js model is fed (pixels are in [0,1] to everything else):")
    .option("--input-range <low,high>", "what pixels become, for example -1,1 or 0,255", parseRange)
    .option("--mean <list>", "subtracted by channel, in [0,1]; one number stands for all", parseNumbers)
    .option("--std <list>", "divided by, by channel", parseNumbers)
    .addOption(
      new Option("--layout <name>", "order of the input's axes")
        .choices(["nhwc", "nchw", "flat"])
        .default(undefined, "nhwc, or flat for two axes"),
    )
    .addOption(new Option("--channels <order>", "order of colours").choices(["rgb", "bgr"]))
    .option("--resize", "bring images to the model's size bilinearly");
}

export function inputOptionsOf(flags: InputFlags): InputOptions {
  const { inputRange, mean, std, layout, channels, resize } = flags;
  return {
    ...(inputRange && { range: inputRange }),
    ...(mean && { mean }),
    ...(std && { std }),
    ...(layout && { layout }),
    ...(channels && { channels }),
    ...(resize && { resize }),
  };
}

export function parseNumbers(text: string): number[] {
  const values = text.split(",").map((word) => (word.trim() === "" ? Number.NaN : Number(word)));
  if (values.some((value) => !Number.isFinite(value))) throw new InvalidArgumentError("It takes numbers with commas between them.");
  return values;
}

function parseRange(text: string): readonly [number, number] {
  const [low, high, ...more] = parseNumbers(text);
  if (low === undefined || high === undefined || more.length > 0 || high <= low)
    throw new InvalidArgumentError("It takes two numbers, the lower first.");
  return [low, high];
}
