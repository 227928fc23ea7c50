/**
 * How Square Attack paints: its start and its proposals, for one sample [H,W,C] in host memory. What is painted is inside the
 * ball and inside [0,1].
 *
 * Linf: every value is at an edge of the ball, x - eps or x + eps; a proposal gives one square new colours.
 * L2:   a perturbation is made of pyramids; a proposal takes the budget of a second square away and moves it, with what is
 *       left of eps, into the first one (section 3.4 of the paper). The budget of a square is kept channel by channel.
 */
import type { Draws } from "../engine/random/philox.js";
import type { Norm } from "./apgd.js";

export interface Painter {
  start(clean: Float32Array, into: Float32Array, draw: Draws): void;
  /** Changes one square of `image`; `share` is how much of the image's area it covers. */
  repaint(clean: Float32Array, image: Float32Array, share: number, draw: Draws): void;
}

export function createPainter(options: { norm: Norm; eps: number; shape: readonly [number, number, number] }): Painter {
  return options.norm === "linf" ? linfPainter(options) : l2Painter(options);
}

interface PainterOptions {
  readonly eps: number;
  readonly shape: readonly [number, number, number];
}

const coin = (draw: Draws): 1 | -1 => (draw.uint32() >>> 31 ? 1 : -1);

function linfPainter({ eps, shape: [height, width, channels] }: PainterOptions): Painter {
  const paint = (clean: Float32Array, image: Float32Array, at: number, sign: number): void => {
    image[at] = Math.min(1, Math.max(0, (clean[at] as number) + sign * eps));
  };
  return {
    start(clean, into, draw) {
      for (let column = 0; column < width; column++) {
        for (let channel = 0; channel < channels; channel++) {
          const sign = coin(draw);
          for (let row = 0; row < height; row++) paint(clean, into, (row * width + column) * channels + channel, sign);
        }
      }
    },
    repaint(clean, image, share, draw) {
      const side = Math.min(height, width, Math.max(1, Math.round(Math.sqrt(share * height * width))));
      const top = draw.below(height - side + 1);
      const left = draw.below(width - side + 1);
      for (let channel = 0; channel < channels; channel++) {
        const sign = coin(draw);
        for (let row = top; row < top + side; row++) {
          for (let column = left; column < left + side; column++) paint(clean, image, (row * width + column) * channels + channel, sign);
        }
      }
    },
  };
}

/** Smaller squares have no room for two pyramids. */
const LEAST_SIDE = 3;

function l2Painter({ eps, shape: [height, width, channels] }: PainterOptions): Painter {
  const size = height * width * channels;
  const delta = new Float64Array(size);
  const index = (row: number, column: number, channel: number): number => (row * width + column) * channels + channel;

  /** x + eps delta / |delta|, inside [0,1]: clamping moves no value away from x. */
  const finish = (clean: Float32Array, into: Float32Array): void => {
    let sum = 0;
    for (const value of delta) sum += value * value;
    const scale = eps / (Math.sqrt(sum) + 1e-12);
    for (let i = 0; i < size; i++) into[i] = Math.min(1, Math.max(0, (clean[i] as number) + scale * (delta[i] as number)));
  };

  return {
    start(clean, into, draw) {
      delta.fill(0);
      const tile = Math.max(1, Math.floor(Math.min(height, width) / 5));
      const [rows, columns] = [Math.floor(height / tile), Math.floor(width / tile)];
      const [top, left] = [Math.floor((height - rows * tile) / 2), Math.floor((width - columns * tile) / 2)];
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++) {
          const shape = pyramids(tile, draw);
          for (let channel = 0; channel < channels; channel++) {
            const sign = coin(draw);
            for (let i = 0; i < tile; i++) {
              for (let j = 0; j < tile; j++) {
                delta[index(top + r * tile + i, left + c * tile + j, channel)] = sign * (shape[i * tile + j] as number);
              }
            }
          }
        }
      }
      finish(clean, into);
    },
    repaint(clean, image, share, draw) {
      for (let i = 0; i < size; i++) delta[i] = (image[i] as number) - (clean[i] as number);
      let side = Math.max(LEAST_SIDE, Math.round(Math.sqrt(share * height * width)));
      if (side % 2 === 0) side++;
      side = Math.min(side, height, width);
      const [top, left] = [draw.below(height - side + 1), draw.below(width - side + 1)];
      const [givingTop, givingLeft] = [draw.below(height - side + 1), draw.below(width - side + 1)];
      let used = 0;
      for (const value of delta) used += value * value;
      const unused = Math.max(0, eps ** 2 - used) / channels;
      const shape = pyramids(side, draw);
      const inSquare = (row: number, column: number, t: number, l: number): boolean =>
        row >= t && row < t + side && column >= l && column < l + side;
      for (let channel = 0; channel < channels; channel++) {
        let own = 0; // what the painted square holds
        let both = 0; // what the two squares hold together
        for (let row = 0; row < height; row++) {
          for (let column = 0; column < width; column++) {
            const taken = inSquare(row, column, top, left);
            if (!taken && !inSquare(row, column, givingTop, givingLeft)) continue;
            const square = (delta[index(row, column, channel)] as number) ** 2;
            both += square;
            if (taken) own += square;
          }
        }
        const sign = coin(draw);
        const old = 1 / (Math.sqrt(own) + 1e-12);
        const painted = new Float64Array(side * side);
        let norm = 0;
        for (let i = 0; i < side; i++) {
          for (let j = 0; j < side; j++) {
            const value = sign * (shape[i * side + j] as number) + old * (delta[index(top + i, left + j, channel)] as number);
            painted[i * side + j] = value;
            norm += value * value;
          }
        }
        const scale = Math.sqrt(unused + both) / (Math.sqrt(norm) + 1e-12);
        for (let i = 0; i < side; i++) {
          for (let j = 0; j < side; j++) delta[index(givingTop + i, givingLeft + j, channel)] = 0;
        }
        for (let i = 0; i < side; i++) {
          for (let j = 0; j < side; j++) delta[index(top + i, left + j, channel)] = scale * (painted[i * side + j] as number);
        }
      }
      finish(clean, image);
    },
  };
}

/** Two pyramids of opposite sign side by side in a square [side * side] of norm 1, upright or lying. */
export function pyramids(side: number, draw: Draws): Float64Array {
  const values = new Float64Array(side * side);
  const half = Math.floor(side / 2);
  const lying = coin(draw) < 0;
  const put = (first: number, length: number, sign: number): void => {
    const pyramid = pyramid2d(length, side);
    for (let i = 0; i < length; i++) {
      for (let j = 0; j < side; j++) {
        const at = lying ? j * side + first + i : (first + i) * side + j;
        values[at] = sign * (pyramid[i * side + j] as number);
      }
    }
  };
  put(0, half, 1);
  put(half, side - half, -1);
  let sum = 0;
  for (const value of values) sum += value * value;
  return values.map((value) => value / Math.sqrt(sum));
}

/** Concentric rectangles of weight 1, 1/4, 1/9, ... added up from the middle [rows * columns], of norm 1 (eq. 2 of the paper). */
function pyramid2d(rows: number, columns: number): Float64Array {
  const values = new Float64Array(rows * columns);
  const middleRow = Math.floor(rows / 2);
  const middleColumn = Math.floor(columns / 2);
  for (let ring = 0; ring <= Math.max(middleRow, middleColumn); ring++) {
    const weight = 1 / (ring + 1) ** 2;
    for (let i = Math.max(0, middleRow - ring); i < Math.min(rows, middleRow + ring + 1); i++) {
      for (let j = Math.max(0, middleColumn - ring); j < Math.min(columns, middleColumn + ring + 1); j++) {
        values[i * columns + j] = (values[i * columns + j] as number) + weight;
      }
    }
  }
  let sum = 0;
  for (const value of values) sum += value * value;
  return sum > 0 ? values.map((value) => value / Math.sqrt(sum)) : values;
}
