import * as fc from 'fast-check';
import { randomInt } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { Agent, request } from 'undici';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';

import { tokenOf } from '../../deploy/local/control-plane.ts';
import { applyManifests } from '../../deploy/local/kube-apply.ts';
import { check } from '../../src/api/check.ts';
import { crdYaml } from '../../src/api/crd.ts';
import { formatProblem } from '../../src/api/problem.ts';
import { API_VERSION, KIND, PLURAL, StorageProbe } from '../../src/api/storage-probe.ts';
import { boundaryInputs, type ProbeInput, probeInputs } from './probe-inputs.ts';

const PROBES = 2_000;
const IN_PARALLEL = 8;

/** The spec of an accepted probe, with defaults, or the error message of a rejected one. */
type Outcome = { readonly spec: unknown } | { readonly rejection: string };

const { kube } = inject('servers');
const agent = new Agent({ connect: { ca: kube.caPem }, connections: IN_PARALLEL });

beforeAll(async () => {
  await applyManifests(kube, crdYaml());
});
afterAll(() => agent.close());

it('the API server and the schema agree on values near the limits of each field', async () => {
  const { disagreements } = await compareOutcomes([...boundaryInputs()]);
  expect(disagreements).toStrictEqual([]);
});

it(`the API server and the schema agree on ${PROBES} probes`, { timeout: 120_000 }, async () => {
  const seed = randomInt(2 ** 31);
  const { admitted, disagreements } = await compareOutcomes(
    fc.sample(probeInputs, { numRuns: PROBES, seed }),
  );
  expect(disagreements, `seed ${seed}`).toStrictEqual([]);
  expect(admitted).toBeGreaterThan(PROBES * 0.3);
  expect(admitted).toBeLessThan(PROBES * 0.7);
});

interface Comparison {
  readonly admitted: number;
  readonly disagreements: readonly object[];
}

async function compareOutcomes(probes: readonly ProbeInput[]): Promise<Comparison> {
  let admitted = 0;
  const disagreements: object[] = [];
  const queue = probes.values();
  async function work(): Promise<void> {
    for (const probe of queue) {
      const server = await serverOutcome(probe);
      const schema = schemaOutcome(probe);
      if ('spec' in server) admitted += 1;
      if (!agree(server, schema)) disagreements.push({ probe: JSON.stringify(probe), server, schema });
    }
  }
  await Promise.all(Array.from({ length: IN_PARALLEL }, work));
  return { admitted, disagreements };
}

function agree(server: Outcome, schema: Outcome): boolean {
  if ('spec' in server && 'spec' in schema) return isDeepStrictEqual(server.spec, schema.spec);
  return 'spec' in server === 'spec' in schema;
}

function schemaOutcome(probe: ProbeInput): Outcome {
  const checked = check(StorageProbe, { apiVersion: API_VERSION, kind: KIND, ...probe });
  if ('problems' in checked) return { rejection: checked.problems.map(formatProblem).join('\n') };
  return { spec: checked.value.spec };
}

async function serverOutcome(probe: ProbeInput): Promise<Outcome> {
  const { body, statusCode } = await request(
    `${kube.url}/apis/${API_VERSION}/namespaces/default/${PLURAL}?dryRun=All&fieldValidation=Strict`,
    {
      dispatcher: agent,
      method: 'POST',
      headers: { authorization: `Bearer ${tokenOf(kube, 'admin')}`, 'content-type': 'application/json' },
      body: JSON.stringify({ apiVersion: API_VERSION, kind: KIND, ...probe }),
    },
  );
  const answer = (await body.json()) as { spec: unknown; message: string };
  if (statusCode === 201) return { spec: answer.spec };
  // 422: a violated validation rule. 400: an unknown field or a value of the wrong type.
  if (statusCode === 422 || statusCode === 400) return { rejection: answer.message };
  throw new Error(`HTTP ${statusCode}: ${answer.message}`);
}
