import fc from 'fast-check';
import { expect, it } from 'vitest';

import { ManualClock } from '../clock/manual-clock.ts';
import { ephemeralBucket } from '../probe/names.ts';
import { RunOwners, type RunOwnersOptions } from './run-owners.ts';

const MAX_RUN_MS = 30_000;
const HOUR_MS = 3_600_000;

function setUp(options: Partial<RunOwnersOptions> = {}) {
  const clock = new ManualClock();
  const world = { leadsForMs: 10_000 };
  const leadsForMs = (): number => world.leadsForMs;
  const owners = new RunOwners({ lease: 'storage/probe', term: 5, leadsForMs, clock, ...options });
  const removable = (): string[] => owners.removable('uid/a', 'uid', MAX_RUN_MS);
  return { clock, world, owners, removable };
}

it('names differ between four consecutive terms, with and without the Lease, and between Leases', () => {
  fc.assert(
    fc.property(fc.nat(), fc.string({ minLength: 1 }), (first, uid) => {
      const names = new Set<string>();
      for (const lease of ['storage/probe', 'storage/other', 'other/probe']) {
        for (let term = first; term < first + 4; term += 1) {
          for (const leadsForMs of [0, 1]) {
            const owner = setUp({ lease, term, leadsForMs: () => leadsForMs }).owners.current(uid);
            const probe = { namespace: 'storage', name: 'a'.repeat(63) };
            const bucket = ephemeralBucket({ owner, probe, target: { name: 'a' } });
            expect(bucket.length).toBeLessThanOrEqual(63);
            names.add(bucket);
          }
        }
      }
      expect(names.size).toBe(3 * 4 * 2);
    }),
    { numRuns: 20 },
  );
});

it('leftovers of another term are removable once its last run is over, and of a cut-off leader after an hour', async () => {
  const { clock, removable } = setUp();
  await clock.advance(MAX_RUN_MS - 1);
  expect(removable()).toEqual([]);
  await clock.advance(1);
  expect(removable()).toEqual(['uid@storage/probe/0', 'uid@storage/probe/2', 'uid@storage/probe/3']);
  await clock.advance(HOUR_MS);
  expect(removable()).toEqual([
    'uid@storage/probe/0',
    'uid@storage/probe/2',
    'uid@storage/probe/3',
    'uid@storage/probe/0/cut-off',
    'uid@storage/probe/2/cut-off',
    'uid@storage/probe/3/cut-off',
  ]);
});

it('leftovers are forgotten once removed, and given up after three failures', async () => {
  const { clock, owners, removable } = setUp();
  await clock.advance(MAX_RUN_MS);
  owners.recordRemoval('uid/a', 'uid', 'uid@storage/probe/0', true);
  for (let attempt = 0; attempt < 2; attempt += 1)
    owners.recordRemoval('uid/a', 'uid', 'uid@storage/probe/2', false);
  expect(removable()).toEqual(['uid@storage/probe/2', 'uid@storage/probe/3']);
  owners.recordRemoval('uid/a', 'uid', 'uid@storage/probe/2', false);
  expect(removable()).toEqual(['uid@storage/probe/3']);
  expect(owners.removable('uid/b', 'uid', MAX_RUN_MS)).toHaveLength(3);
});

it("leftovers of this term's runs under its other name are removable at once", () => {
  const { world, owners, removable } = setUp();
  world.leadsForMs = 0;
  const owner = owners.current('uid');
  expect(owner).toBe('uid@storage/probe/1/cut-off');
  owners.recordLeftovers('uid/a', 'uid', owner);
  expect(removable()).toEqual([owner]);
});

it('a leader that is cut off removes no leftovers of other terms, and stops in time otherwise', async () => {
  const { clock, world, owners, removable } = setUp();
  await clock.advance(HOUR_MS);
  expect(removable()).toHaveLength(6);
  expect(owners.removalMs(20_000)).toBe(10_000);
  world.leadsForMs = 0;
  expect(removable()).toEqual([]);
});
