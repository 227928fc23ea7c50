/** Deaths, cuts, failed sums, newcomers and restarts of the coordinator in any order: the laws of the run, as a property. */

import { describe, expect, test } from "vitest";
import { auditJournal } from "../../src/coordinator/audit.js";
import * as fc from "../kit/property.js";
import { fromWords } from "../kit/swarm.js";
import { NUM_STEPS, reference, settle, setUpSuccession } from "./kit.js";

describe("a run under faults", () => {
  type Action =
    | { kind: "deliver" | "kill" | "fault" | "cut" | "connect" | "retire"; at: number }
    | { kind: "join" | "settle" | "hold" | "release" }
    | { kind: "restart"; lostCommits: number };
  const at = <const Kind extends string>(kind: Kind, weight: number) => ({
    weight,
    arbitrary: fc.record({ kind: fc.constant(kind), at: fc.nat(9) }),
  });
  const action: fc.Arbitrary<Action> = fc.oneof(
    at("deliver", 25),
    at("kill", 1),
    at("fault", 1),
    at("cut", 1),
    at("connect", 2),
    at("retire", 1),
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("join" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("settle" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("hold" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("release" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const), lostCommits: fc.nat(2) }) },
  );

  test("whatever happens in whatever order, it finishes with every step counted once and one model", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.array(action, { maxLength: 200 }), async (workers, actions) => {
        const { lines, swarm, store, restart, now } = setUpSuccession(workers);
        for (let i = 0; i < workers; i++) now().join(`w${i}`);
        let numJoined = workers;
        let isFaulty = false;
        for (const act of actions) {
          if (now().outcome()) break;
          const alive = swarm.filter(({ isAlive }) => isAlive);
          const chosen = "at" in act ? alive[act.at % Math.max(1, alive.length)] : undefined;
          if (act.kind === "deliver") await chosen?.step();
          else if (act.kind === "settle") await settle();
          else if (act.kind === "hold") store.hold();
          else if (act.kind === "release") store.release();
          else if (act.kind === "join") now().join(`w${numJoined++}`);
          else if (act.kind === "kill") chosen?.kill();
          else if (act.kind === "cut") chosen?.disconnect();
          else if (act.kind === "connect") chosen?.connect(now().run);
          else if (act.kind === "retire") chosen?.retire();
          else if (act.kind === "restart") {
            store.release();
            await settle(); // the store is one object here: a write that death cut short is the store's own test
            restart(act);
          } else if (act.kind === "fault" && !isFaulty && chosen) {
            chosen.fault = "collective";
            isFaulty = true; // one, so that the limit of retries is not what is tested
          }
        }
        store.release();
        for (let rounds = 0; !now().outcome(); rounds++) {
          expect(rounds).toBeLessThan(200);
          for (const worker of swarm) if (worker.isAlive && !worker.isConnected) worker.connect(now().run);
          if (!swarm.some(({ isAlive }) => isAlive)) now().join(`w${numJoined++}`);
          if (now().run.status().generation === 0)
            while (swarm.filter(({ isAlive }) => isAlive).length < workers) now().join(`w${numJoined++}`);
          now().clock.nowMs += 600; // those of the last generation are not waited for any longer
          for (const worker of swarm)
            now().run.receive(worker.incarnation, { kind: "heartbeat", step: 0, phase: "idle", phaseMs: 0, idleMs: 0, waits: true });
          now().run.tick();
          await now().drain();
        }
        expect(now().outcome()).toMatchObject({ kind: "finished", step: NUM_STEPS, checkpointStep: NUM_STEPS });
        const audit = auditJournal(lines());
        expect(audit.faults).toEqual([]);
        expect(audit.commits).toHaveLength(NUM_STEPS);
        expect(fromWords((await store.load("latest")).files.model.get("parameters"))).toBe(reference(NUM_STEPS));
        for (const worker of swarm) if (worker.stop?.outcome === "finished") expect(worker.parameters).toBe(reference(NUM_STEPS));
      }),
      { numRuns: 300 },
    );
  }, 60_000);
});
