/** Half-open range of positions. */
export interface Range {
  readonly from: number;
  readonly to: number;
}
