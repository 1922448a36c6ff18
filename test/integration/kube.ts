import { onTestFinished } from 'vitest';

import { systemClock } from '../../src/clock/system-clock.ts';
import { HttpKubeClient } from '../../src/kube/http-kube-client.ts';
import { loadKubeConfig } from '../../src/kube/kube-config.ts';
import type { KubeObject, ResourceType } from '../../src/kube/objects.ts';
import { createObject, deleteObject } from '../../src/kube/resources.ts';
import { uniqueName } from '../support/unique-name.ts';

export const CONFIG_MAPS: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'configmaps',
  kind: 'ConfigMap',
};
export const NAMESPACES: ResourceType = { group: '', version: 'v1', plural: 'namespaces', kind: 'Namespace' };

export const NEVER = new AbortController().signal;

export interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
}

/** A client that is closed when the test finishes. */
export function connectTo(kubeconfigFile: string): HttpKubeClient {
  const client = new HttpKubeClient({
    config: loadKubeConfig({ path: kubeconfigFile, env: {} }),
    clock: systemClock,
    userAgent: 'storage-probe-test',
  });
  onTestFinished(() => client.close());
  return client;
}

/** Creates a namespace for one test. It is never deleted: no controller would finish the deletion. */
export async function createNamespace(client: HttpKubeClient, prefix: string): Promise<string> {
  const name = uniqueName(prefix);
  await createObject(client, NAMESPACES, { metadata: { name } }, NEVER);
  return name;
}

export function putConfigMap(
  client: HttpKubeClient,
  namespace: string,
  name: string,
  value = '',
): Promise<ConfigMap> {
  return createObject<ConfigMap>(
    client,
    CONFIG_MAPS,
    { metadata: { namespace, name }, data: { value } },
    NEVER,
  );
}

export function deleteConfigMap(client: HttpKubeClient, namespace: string, name: string): Promise<void> {
  return deleteObject(client, CONFIG_MAPS, { namespace, name }, NEVER);
}
