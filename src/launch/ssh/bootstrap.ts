/**
 * How a process is started on another machine: the command line that ssh carries says nothing but how many bytes of script to read,
 * and everything else (the script, the program's words, certificates, the join token) travels over standard input, which other users
 * of that machine can't see. It needs a POSIX shell there, and works under any login shell.
 *
 * Standard input stays open as the process's lifeline: a line `term` is a SIGTERM, and its end (the launcher is gone, the connection
 * broke) is a SIGTERM followed by SIGKILL. Files lie in a folder of mode 700 that goes with the process. The process's JSON log
 * comes back as standard output, its words for people as standard error.
 */

export interface RemoteProcess {
  /** The command and its arguments; `@FILES@` in one stands for the folder of `files`, `@THREADS@` for an even share of the cores. */
  readonly words: readonly string[];
  /** Text files that it needs, by name. */
  readonly files: Readonly<Record<string, string>>;
  /** Processes that share the machine's cores. */
  readonly slots: number;
  /** Threads of the process, or null for its share. */
  readonly threads: number | null;
  /** Between SIGTERM and SIGKILL when the lifeline ends. */
  readonly graceSeconds: number;
}

export const LOG_FILE = "log";
export const TERM_LINE = "term\n";

/** What the login shell of that machine is told: the same for every process but for a number. */
export function remoteCommand(script: string): string {
  return `exec sh -c 'eval "$(dd bs=1 count=${Buffer.byteLength(script)} 2>/dev/null)"'`;
}

/** What is written to standard input first; it stays open then. */
export function standardInput(script: string, files: RemoteProcess["files"]): string {
  const lines = Object.entries(files).flatMap(([name, text]) => [
    `> ${name}`,
    ...text
      .replace(/\n$/, "")
      .split("\n")
      .map((line) => `|${line}`),
  ]);
  return `${script}${lines.map((line) => `${line}\n`).join("")}.\n`;
}

/**
 * The script that unpacks the files, runs the process, guards it, and ends with its exit status. The log is a FIFO that the script holds
 * open for both ways, before its reader starts and until the process has ended: a reader of its own accord would wait for ever for a
 * process that never wrote one.
 */
export function bootstrapScript({ words, slots, threads, graceSeconds }: Omit<RemoteProcess, "files">): string {
  return `umask 077
base=\${XDG_RUNTIME_DIR:-}
if [ -z "$base" ] || [ ! -w "$base" ]; then base=\${TMPDIR:-/tmp}; fi
files=$(mktemp -d "$base/isoerg.XXXXXX") || exit 1
trap 'rm -rf "$files"' EXIT
while IFS= read -r line; do
  case $line in
    "> "*) exec 4>"$files/\${line#??}" ;;
    "|"*) printf '%s\\n' "\${line#?}" >&4 ;;
    .) break ;;
  esac
done
exec 3<&0 4>&-
threads=${threads === null ? `$(( $(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1) / ${slots} ))` : String(threads)}
if [ "$threads" -lt 1 ]; then threads=1; fi
mkfifo "$files/${LOG_FILE}" || exit 1
exec 5<>"$files/${LOG_FILE}" 6<"$files/${LOG_FILE}"
cat <&6 3<&- 5>&- 6<&- &
log=$!
exec 6<&-
OMP_NUM_THREADS=\${OMP_NUM_THREADS:-$threads} ${words.map(shellWord).join(" ")} </dev/null 3<&- 5>&- >&2 &
pid=$!
trap 'kill -TERM "$pid"' TERM HUP INT
(
  while IFS= read -r word; do
    if [ "$word" = term ]; then kill -TERM "$pid"; fi
  done <&3
  kill -TERM "$pid" && sleep ${graceSeconds} && kill -KILL "$pid"
) >/dev/null 2>&1 5>&- &
guard=$!
exec 3<&-
while :; do
  wait "$pid"
  code=$?
  kill -0 "$pid" 2>/dev/null || break
done
kill "$guard" 2>/dev/null
exec 5>&-
wait "$log"
exit "$code"
`;
}

/** In quotes; the two names that stand for something known only there are left to that shell. */
function shellWord(word: string): string {
  const quoted = `'${word.replaceAll("'", `'\\''`)}'`;
  return quoted.replaceAll("@FILES@", `'"$files"'`).replaceAll("@THREADS@", `'"$threads"'`);
}
