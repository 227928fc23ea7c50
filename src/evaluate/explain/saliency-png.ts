/**
 * An explanation as a picture: the image, the map of the decision, the map of the energy. Red raises, blue lowers, white does nothing; the
 * bar below each map runs from -scale to +scale, and the scale stands beside it in digits, since two maps can't be compared without it.
 */
import { PNG } from "pngjs";
import type { Explanation, SaliencyMap } from "./saliency.js";

const MARGIN = 8;
const BAR = 10;
const TEXT = 3; // screen pixels for one pixel of the digits

/** 3x5 digits, a row of three bits each. */
const GLYPHS: Readonly<Record<string, readonly number[]>> = {
  "0": [7, 5, 5, 5, 7],
  "1": [2, 6, 2, 2, 7],
  "2": [7, 1, 7, 4, 7],
  "3": [7, 1, 3, 1, 7],
  "4": [5, 5, 7, 1, 1],
  "5": [7, 4, 7, 1, 7],
  "6": [7, 4, 7, 5, 7],
  "7": [7, 1, 2, 2, 2],
  "8": [7, 5, 7, 5, 7],
  "9": [7, 5, 7, 1, 7],
  ".": [0, 0, 0, 0, 2],
  "-": [0, 0, 7, 0, 0],
  "+": [0, 2, 7, 2, 0],
  e: [0, 7, 7, 4, 7],
};

/** @param image [H*W*C] in [0,1]. */
export function saliencyPng(image: Float32Array, shape: readonly [number, number, number], explanation: Explanation, tile = 256): Buffer {
  const [height, width, channels] = shape;
  const scale = Math.max(1, Math.floor(tile / Math.max(height, width)));
  const [tileWidth, tileHeight] = [width * scale, height * scale];
  const png = new PNG({ width: 3 * tileWidth + 4 * MARGIN, height: tileHeight + 4 * MARGIN + BAR + 5 * TEXT, colorType: 2 });
  png.data.fill(255);
  const fill = (left: number, top: number, size: number, [r, g, b]: readonly number[], tall = size): void => {
    for (let y = top; y < top + tall; y++) {
      for (let x = left; x < left + size; x++) png.data.set([r ?? 0, g ?? 0, b ?? 0], (y * png.width + x) * 4);
    }
  };
  const text = (words: string, left: number, top: number): void => {
    [...words].forEach((letter, at) => {
      GLYPHS[letter]?.forEach((bits, row) => {
        for (let column = 0; column < 3; column++) {
          if (bits & (4 >> column)) fill(left + (at * 4 + column) * TEXT, top + row * TEXT, TEXT, [40, 40, 40]);
        }
      });
    });
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * channels;
      const colour = [0, 1, 2].map((c) => Math.round(255 * (image[at + (channels === 3 ? c : 0)] as number)));
      fill(MARGIN + x * scale, MARGIN + y * scale, scale, colour);
    }
  }
  for (const [index, map] of [explanation.logProbability, explanation.energyGradient].entries()) {
    const left = MARGIN + (index + 1) * (tileWidth + MARGIN);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) fill(left + x * scale, MARGIN + y * scale, scale, colourOf(map, map.values[y * width + x] as number));
    }
    const barTop = 2 * MARGIN + tileHeight;
    for (let x = 0; x < tileWidth; x++) fill(left + x, barTop, 1, diverging((2 * x) / (tileWidth - 1) - 1), BAR);
    const low = shortNumber(-map.scale);
    const high = shortNumber(map.scale);
    text(low, left, barTop + BAR + MARGIN);
    text(high, left + tileWidth - (high.length * 4 - 1) * TEXT, barTop + BAR + MARGIN);
  }
  return PNG.sync.write(png, { colorType: 2 });
}

function colourOf(map: SaliencyMap, value: number): number[] {
  return diverging(map.scale > 0 ? value / map.scale : 0);
}

/** -1 blue, 0 white, 1 red. */
function diverging(value: number): number[] {
  const [r, g, b] = value >= 0 ? [178, 24, 43] : [33, 102, 172];
  const share = Math.min(1, Math.abs(value));
  return [r, g, b].map((end) => Math.round(255 + share * ((end as number) - 255)));
}

/** Two digits, with a sign. */
function shortNumber(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const digits = size >= 1e4 || size < 1e-3 ? size.toExponential(1).replace("e+", "e") : String(Number(size.toPrecision(2)));
  return `${value > 0 ? "+" : "-"}${digits}`;
}
