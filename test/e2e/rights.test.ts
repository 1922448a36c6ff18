import { describe, expect, it } from 'vitest';

import { FORBIDDEN, LEADING, resourceAttributes, type Right, WORK } from '../support/operator-rights.ts';
import { uniqueName } from '../support/unique-name.ts';
import { apply, IMAGE_NAME, installOperator, kubectl, makeProbeNamespace } from './cluster.ts';
import { OPERATOR, STORAGE } from './releases.ts';

/** Asks the API server, in a Pod with the operator's token and image, which of the rights it has; prints the answers. */
const ASK = `
import { readFileSync } from 'node:fs';

const token = readFileSync('/var/run/secrets/kubernetes.io/serviceaccount/token', 'utf8');
const headers = { authorization: \`Bearer \${token}\`, 'content-type': 'application/json' };
const url = 'https://kubernetes.default.svc/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
const answers = [];
for (const resourceAttributes of JSON.parse(process.argv[1])) {
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    spec: { resourceAttributes },
  };
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(review) });
  answers.push((await response.json()).status.allowed);
}
console.log(JSON.stringify(answers));
`;

describe('a Pod with the ServiceAccount of the operator', () => {
  it('may do its work in all namespaces, and nothing else', async () => {
    await using _ = await installOperator();
    expect(await allowedIn(STORAGE)).toEqual(WORK);
    expect(await allowedIn('kube-system')).toEqual(WORK);
    expect(await allowedIn(OPERATOR)).toEqual([...WORK, ...LEADING]);
  });

  it('may do its work in the namespaces that it watches, and nothing elsewhere', async () => {
    await using watched = await makeProbeNamespace('watched');
    await using other = await makeProbeNamespace('not-watched');
    await using _ = await installOperator({ watchNamespaces: [watched.name] });
    expect(await allowedIn(watched.name)).toEqual(WORK);
    expect(await allowedIn(other.name)).toEqual([]);
    expect(await allowedIn(OPERATOR)).toEqual(LEADING);

    await other.applyProbe('not-run', '1s');
    await watched.applyProbe('is-run', '1s');
    await watched.untilHealthy('is-run');
    expect(await other.get('not-run')).not.toHaveProperty('status');
  });
});

async function allowedIn(namespace: string): Promise<Right[]> {
  const rights = [...WORK, ...LEADING, ...FORBIDDEN];
  const questions = rights.map((right) => resourceAttributes(right, namespace, OPERATOR));
  const answers = JSON.parse(await runPod(JSON.stringify(questions))) as readonly boolean[];
  expect(answers).toHaveLength(rights.length);
  return rights.filter((_, index) => answers[index]);
}

/** Returns what it printed. */
async function runPod(argument: string): Promise<string> {
  const name = uniqueName('rights');
  const within = `--namespace=${OPERATOR}`;
  await apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: OPERATOR },
    spec: {
      serviceAccountName: OPERATOR,
      automountServiceAccountToken: true,
      restartPolicy: 'Never',
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'ask',
          image: IMAGE_NAME,
          command: ['/nodejs/bin/node', '--input-type=module', '--eval', ASK, argument],
          env: [
            {
              name: 'NODE_EXTRA_CA_CERTS',
              value: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
            },
          ],
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
        },
      ],
    },
  });
  try {
    const isOver = '--for=jsonpath={.status.phase}=Succeeded';
    await kubectl('wait', isOver, `pod/${name}`, within, '--timeout=60s');
    return await kubectl('logs', name, within);
  } finally {
    await kubectl('delete', 'pod', name, within, '--wait=false');
  }
}
