import { describe, expect, it } from 'vitest';

import {
  FORBIDDEN_PERMISSIONS,
  LEASE_PERMISSIONS,
  resourceAttributes,
  type Permission,
  RUN_PERMISSIONS,
} from '../support/operator-permissions.ts';
import { uniqueName } from '../support/unique-name.ts';
import { apply, IMAGE_NAME, installOperator, kubectl, createProbeNamespace } from './cluster.ts';
import { OPERATOR, STORAGE } from './releases.ts';

/** Runs in a Pod with the operator's image and token. Prints, for each right, whether the API server allows it. */
const ACCESS_REVIEW_SCRIPT = `
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

describe('the ServiceAccount of the operator', () => {
  it('has the rights for its work in all namespaces, and no others', async () => {
    await using _ = await installOperator();
    expect(await allowedIn(STORAGE)).toEqual(RUN_PERMISSIONS);
    expect(await allowedIn('kube-system')).toEqual(RUN_PERMISSIONS);
    expect(await allowedIn(OPERATOR)).toEqual([...RUN_PERMISSIONS, ...LEASE_PERMISSIONS]);
  });

  it('has rights only in the watched namespaces, and on its Lease', async () => {
    await using watched = await createProbeNamespace('watched');
    await using other = await createProbeNamespace('not-watched');
    await using _ = await installOperator({ watchNamespaces: [watched.name] });
    expect(await allowedIn(watched.name)).toEqual(RUN_PERMISSIONS);
    expect(await allowedIn(other.name)).toEqual([]);
    expect(await allowedIn(OPERATOR)).toEqual(LEASE_PERMISSIONS);

    await other.applyProbe('ignored', '1s');
    await watched.applyProbe('probed', '1s');
    await watched.untilHealthy('probed');
    expect(await other.get('ignored')).not.toHaveProperty('status');
  });
});

async function allowedIn(namespace: string): Promise<Permission[]> {
  const rights = [...RUN_PERMISSIONS, ...LEASE_PERMISSIONS, ...FORBIDDEN_PERMISSIONS];
  const reviews = rights.map((right) => resourceAttributes(right, namespace, OPERATOR));
  const answers = JSON.parse(await runPod(JSON.stringify(reviews))) as readonly boolean[];
  expect(answers).toHaveLength(rights.length);
  return rights.filter((_, index) => answers[index]);
}

/** Runs {@link ACCESS_REVIEW_SCRIPT} in a Pod and returns its log. */
async function runPod(argument: string): Promise<string> {
  const name = uniqueName('rights');
  const inNamespace = `--namespace=${OPERATOR}`;
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
          name: 'access-review',
          image: IMAGE_NAME,
          command: ['/nodejs/bin/node', '--input-type=module', '--eval', ACCESS_REVIEW_SCRIPT, argument],
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
    const succeeded = '--for=jsonpath={.status.phase}=Succeeded';
    await kubectl('wait', succeeded, `pod/${name}`, inNamespace, '--timeout=60s');
    return await kubectl('logs', name, inNamespace);
  } finally {
    await kubectl('delete', 'pod', name, inNamespace, '--wait=false');
  }
}
