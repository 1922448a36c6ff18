import { join } from 'node:path';

import type { Release } from '../../deploy/kind/release.ts';
import { chartPath } from '../../deploy/local/helm.ts';

/** Of the operator's release, and so its namespace, its Deployment, its ServiceAccount and its Lease. */
export const OPERATOR = 'storage-probe';
/** Where MinIO, Collector and Jaeger are. */
export const STORAGE = 'storage';
/** The two namespaces, which enforce Pod Security. */
export const NAMESPACES_FILE = join(import.meta.dirname, '../../deploy/kind/namespaces.yaml');
/** As Helm takes it: the images are on the node. */
export const INSTALL_DEADLINE = '2m';

/** Without its probes: they need the CustomResourceDefinition, which comes with the operator. */
export const DEMO: Release = {
  name: 'demo',
  namespace: STORAGE,
  chart: chartPath('storage-probe-demo'),
  values: { probes: { enabled: false } },
};

/** With its default values, but for the image and where traces go. */
export function operatorRelease(imageTag: string, values: object = {}): Release {
  return {
    name: OPERATOR,
    namespace: OPERATOR,
    chart: chartPath('storage-probe'),
    values: {
      image: { tag: imageTag },
      otlp: { endpoint: `http://demo-collector.${STORAGE}.svc:4317` },
      ...values,
    },
  };
}
