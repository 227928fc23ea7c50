/**
 * Samples as one picture: tiles in rows, enlarged by whole pixels (no smoothing: what is seen is what the model drew), one
 * pixel of gap between them.
 */
import { PNG } from "pngjs";
import { invariant } from "../util/error.js";
import type { Images } from "./passes.js";

export interface GridOptions {
  readonly columns: number;
  /** Screen pixels a side for one pixel of a sample. */
  readonly scale: number;
}

const GAP = 1;
const BACKGROUND = 255;

/** A PNG file of all images, row by row; images have 1 channel (grey) or 3 (RGB). */
export function gridPng(images: Images, options: GridOptions): Buffer {
  const [height, width, channels] = images.shape;
  invariant(channels === 1 || channels === 3, `a picture of ${channels} channels can't be shown`);
  const columns = Math.max(1, Math.min(options.columns, images.numImages));
  const rows = Math.max(1, Math.ceil(images.numImages / columns));
  const [tileHeight, tileWidth] = [height * options.scale, width * options.scale];
  const png = new PNG({ width: columns * (tileWidth + GAP) - GAP, height: rows * (tileHeight + GAP) - GAP, colorType: 2 });
  png.data.fill(BACKGROUND);
  const unit = images.data instanceof Uint8Array ? 1 : 255;
  for (let index = 0; index < images.numImages; index++) {
    const left = (index % columns) * (tileWidth + GAP);
    const top = Math.floor(index / columns) * (tileHeight + GAP);
    for (let y = 0; y < tileHeight; y++) {
      for (let x = 0; x < tileWidth; x++) {
        const pixel = ((index * height + Math.floor(y / options.scale)) * width + Math.floor(x / options.scale)) * channels;
        const at = ((top + y) * png.width + left + x) * 4;
        for (let c = 0; c < 3; c++) {
          const value = (images.data[pixel + (channels === 3 ? c : 0)] as number) * unit;
          png.data[at + c] = Math.max(0, Math.min(255, Math.round(value)));
        }
      }
    }
  }
  return PNG.sync.write(png, { colorType: 2 });
}

/** The scale at which a grid comes out about `targetPixels` wide. */
export function scaleFor(images: Pick<Images, "shape">, columns: number, targetPixels: number): number {
  return Math.max(1, Math.round(targetPixels / (columns * images.shape[1])));
}
