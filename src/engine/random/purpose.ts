/**
 * What a random value is for. The purpose is part of a stream's counter, so two uses never share a value, and adding a
 * use never moves the values of another. Numbers are part of a run's identity: never reuse or renumber one.
 */
export const PURPOSE = {
  init: 1,
  shuffle: 2,
  augment: 3,
  attackStart: 4,
  chainNoise: 5,
  chainStart: 6,
  chainPick: 7,
  evaluateAttack: 8,
  evaluateChain: 9,
  sampling: 10,
  overfittingProbe: 30,
  dataStart: 31,
  neighbour: 40,
  inputNoise: 41,
  sweep: 64,
  importance: 65,
  bootstrap: 80,
  noiseImages: 81,
  costBootstrap: 82,
} as const;

export type Purpose = (typeof PURPOSE)[keyof typeof PURPOSE];
