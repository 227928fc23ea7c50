/** Sockets that keep to a range of ports: in turn, over those that are taken, and with a clear word where none is left. */

import { describe, expect, it } from "vitest";
import { DataPorts } from "../../src/collective/data-ports.js";
import { bindRing } from "../../src/collective/zeromq-transport.js";
import { freePorts } from "../kit/free-ports.js";
import * as fc from "../kit/property.js";

const inUse = (): Error => Object.assign(new Error("bind EADDRINUSE"), { code: "EADDRINUSE" });

describe("a range of data ports", () => {
  it("gives each free port once a round, whichever are taken", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 12 }), fc.infiniteStream(fc.boolean()), async (length, taken) => {
        const first = 7100;
        const isTaken = Array.from({ length }, () => taken.next().value === true);
        const free = isTaken.flatMap((is, i) => (is ? [] : [first + i]));
        const ports = new DataPorts(first, first + length - 1);
        const listen = async (port: number): Promise<number> => {
          if (isTaken[port - first]) throw inUse();
          return port;
        };
        if (free.length === 0) {
          await expect(ports.take(listen)).rejects.toThrow(`all ports from 7100 to ${first + length - 1} are taken`);
          return;
        }
        const given: number[] = [];
        for (let i = 0; i < free.length; i++) given.push(await ports.take(listen));
        expect(given).toEqual(free);
        expect(await ports.take(listen)).toBe(free[0]);
      }),
    );
  });

  it("passes on every other error at once", async () => {
    const asked: number[] = [];
    const listen = async (port: number): Promise<never> => {
      asked.push(port);
      throw new Error("EADDRNOTAVAIL");
    };
    await expect(new DataPorts(7100, 7109).take(listen)).rejects.toThrow("EADDRNOTAVAIL");
    expect(asked).toEqual([7100]);
  });

  it("keeps the rings of successive generations apart, and says when there is no room", async () => {
    const first = await freePorts(2);
    const ports = new DataPorts(first, first + 1);
    const place = { run: 1, rank: 0, worldSize: 2, ports };
    const one = await bindRing({ ...place, generation: 1 });
    const two = await bindRing({ ...place, generation: 2 });
    expect([one.endpoint, two.endpoint]).toEqual([`tcp://127.0.0.1:${first}`, `tcp://127.0.0.1:${first + 1}`]);
    await expect(bindRing({ ...place, generation: 3 })).rejects.toThrow(`all ports from ${first} to ${first + 1} are taken`);
    await one[Symbol.asyncDispose]();
    await two[Symbol.asyncDispose]();
  });
});
