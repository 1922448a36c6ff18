import { join } from 'node:path';

import type { Release } from '../../deploy/kind/release.ts';
import { chartPath } from '../../deploy/local/helm.ts';

/** Name of the operator's release, namespace, Deployment, ServiceAccount and Lease. */
export const OPERATOR = 'storage-probe';
/** Namespace of MinIO, the Collector and Jaeger. */
export const STORAGE = 'storage';
/** Manifests of both namespaces, which enforce Pod Security. */
export const NAMESPACES_FILE = join(import.meta.dirname, '../../deploy/kind/namespaces.yaml');
/** Time limit for one installation, in Helm's format. The images are already on the node. */
export const INSTALL_DEADLINE = '2m';

/** The demo without its probes, which need the CustomResourceDefinition from the operator's chart. */
export const DEMO: Release = {
  name: 'demo',
  namespace: STORAGE,
  chart: chartPath('storage-probe-demo'),
  values: { probes: { enabled: false } },
};

/** The operator with default values, except for the image tag, the OTLP endpoint and `values`. */
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
