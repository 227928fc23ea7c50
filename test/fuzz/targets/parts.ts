/** Several files as one input: the first byte says which of them is altered, the rest is its content. */

export function parts(at: number, bytes: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(at), bytes]);
}

export function whole(input: Uint8Array, count: number): { readonly at: number; readonly bytes: Uint8Array } {
  return { at: (input[0] ?? 0) % count, bytes: input.subarray(1) };
}
