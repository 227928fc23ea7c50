/**
 * What `find-libtorch.mjs` finds and `build.mjs` makes, as types: they are plain JavaScript because they run before TypeScript is compiled.
 */

export interface Libtorch {
  /** Where it was found: a folder that was named, Debian's package, an unpacked folder, or the torch of a Python installation. */
  readonly kind: "named" | "debian" | "folder" | "python";
  /** For example `1.13.1`. */
  readonly version: string;
  readonly includeDirs: readonly string[];
  readonly libDirs: readonly string[];
  /** _GLIBCXX_USE_CXX11_ABI that it was compiled with. */
  readonly abi: 0 | 1;
  /** Whether its CUDA library lies beside it. */
  readonly cuda: boolean;
}

export type LibtorchSearch =
  /** `why` this one, in a few words for people. */
  { readonly ok: true; readonly libtorch: Libtorch; readonly why: string } | { readonly ok: false; readonly reason: string };

export type BridgeBuild =
  | { readonly ok: true; readonly path: string; readonly libtorch: Libtorch; readonly reused: boolean; readonly seconds: number }
  | { readonly ok: false; readonly reason: string; readonly hint: string };

/** The functions of build.mjs. */
export interface BuildModule {
  findLibtorch(options?: {
    folder?: string | undefined;
    env?: NodeJS.ProcessEnv;
    /** Whether a GPU is present; looked for by default. */
    gpu?: boolean;
    /** What is installed, in the order of preference; looked for by default. */
    candidates?: () => Iterable<Libtorch>;
  }): LibtorchSearch;
  buildBridge(options?: { log?: (line: string) => void; folder?: string | undefined; env?: NodeJS.ProcessEnv }): BridgeBuild;
  /** CUDA's headers, and its compiler and static runtime where they are there too. */
  findCuda(
    libtorch: Libtorch,
    env?: NodeJS.ProcessEnv,
  ): { readonly include: string; readonly nvcc?: string; readonly lib?: string } | undefined;
  compilerVersion(env?: NodeJS.ProcessEnv): string | undefined;
}
