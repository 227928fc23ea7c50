/** Cyclic redundancy checks of 32 bits, reflected: CRC-32 (IEEE 802.3; zip) and CRC-32C (Castagnoli; TFRecord). */

export type Crc = (bytes: Uint8Array) => number;

export const crc32: Crc = createCrc(0xedb88320);
export const crc32c: Crc = createCrc(0x82f63b78);

/** @param polynomial with its bits reversed. */
function createCrc(polynomial: number): Crc {
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
    return value;
  });
  return (bytes) => {
    let crc = 0xffffffff;
    for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] as number);
    return (crc ^ 0xffffffff) >>> 0;
  };
}
