// @ts-check
/** Specs that are expected to fail, and why. At most five; each is a choice, not a gap. */

/** @type {readonly { spec: string, reason: string }[]} */
export const exclusions = [];
