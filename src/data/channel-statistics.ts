/** Mean and deviation of each channel over a whole split, exact: pixel values are counted, not summed in floats. */
import type { SampleShape, Samples } from "./samples.js";

export interface ChannelStatistics {
  add(samples: Samples): void;
  /** In pixels [0,1]; the deviation is over the population. */
  result(): { mean: number[]; std: number[] };
}

export function createChannelStatistics({ channels }: SampleShape): ChannelStatistics {
  const counts = new Float64Array(channels * 256);
  return {
    add({ images }) {
      for (let i = 0; i < images.length; i += channels) {
        for (let c = 0; c < channels; c++) {
          const bin = c * 256 + (images[i + c] as number);
          counts[bin] = (counts[bin] as number) + 1;
        }
      }
    },
    result() {
      const mean: number[] = [];
      const std: number[] = [];
      for (let c = 0; c < channels; c++) {
        const bins = counts.subarray(c * 256, (c + 1) * 256);
        const total = Math.max(
          1,
          bins.reduce((sum, n) => sum + n, 0),
        );
        const m = bins.reduce((sum, n, value) => sum + n * value, 0) / total;
        const variance = bins.reduce((sum, n, value) => sum + n * (value - m) ** 2, 0) / total;
        mean.push(m / 255);
        std.push(Math.sqrt(variance) / 255);
      }
      return { mean, std };
    },
  };
}
