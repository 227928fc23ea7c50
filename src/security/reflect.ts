/**
 * The three functions of the metadata reflection proposal that @peculiar/x509's container of services asks for, over a WeakMap.
 * Imported before that package, and only by those who make certificates. What is there already is left alone.
 */

type Metadata = Map<unknown, unknown>;
const all = new WeakMap<object, Metadata>();

function getOwnMetadata(key: unknown, target: object): unknown {
  return all.get(target)?.get(key);
}

function getMetadata(key: unknown, target: object): unknown {
  for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    if (all.get(at)?.has(key)) return getOwnMetadata(key, at);
  }
  return undefined;
}

function defineMetadata(key: unknown, value: unknown, target: object): void {
  const own = all.get(target) ?? new Map<unknown, unknown>();
  all.set(target, own.set(key, value));
}

for (const [name, value] of Object.entries({ getOwnMetadata, getMetadata, defineMetadata })) {
  if (!(name in Reflect)) Object.defineProperty(Reflect, name, { value, configurable: true, writable: true });
}
