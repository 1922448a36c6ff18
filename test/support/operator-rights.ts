/** One right, as `patch storageprobes/status@storageprobe.dev`: verb, resource, subresource and API group. */
export type Right = string;

/** What the operator has to be allowed where it runs probes. */
export const WORK: readonly Right[] = [
  'list storageprobes@storageprobe.dev',
  'watch storageprobes@storageprobe.dev',
  'patch storageprobes/status@storageprobe.dev',
  'get secrets',
  'create events@events.k8s.io',
  'patch events',
];

/** What it has to be allowed where its Lease is, to the Lease of its release. */
export const LEADING: readonly Right[] = ['get', 'watch', 'update', 'create'].map(
  (verb) => `${verb} leases@coordination.k8s.io`,
);

/** What it may do nowhere. */
export const FORBIDDEN: readonly Right[] = [
  'get storageprobes@storageprobe.dev',
  'create storageprobes@storageprobe.dev',
  'update storageprobes@storageprobe.dev',
  'patch storageprobes@storageprobe.dev',
  'delete storageprobes@storageprobe.dev',
  'get storageprobes/status@storageprobe.dev',
  'update storageprobes/status@storageprobe.dev',
  'list secrets',
  'watch secrets',
  'create secrets',
  'update secrets',
  'delete secrets',
  'get configmaps',
  'get pods',
  'create pods',
  'create pods/exec',
  'create serviceaccounts/token',
  'create events',
  'delete events',
  'list leases@coordination.k8s.io',
  'delete leases@coordination.k8s.io',
  'list namespaces',
  'bind clusterroles@rbac.authorization.k8s.io',
  'impersonate users',
];

/** Of a `SubjectAccessReview` or a `SelfSubjectAccessReview`. */
export interface ResourceAttributes {
  readonly namespace: string;
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly name: string;
}

/** @param lease the name of the Lease, for the rights to it. */
export function resourceAttributes(right: Right, namespace: string, lease: string): ResourceAttributes {
  const [verb = '', what = ''] = right.split(' ');
  const [path = '', group = ''] = what.split('@');
  const [resource = '', subresource = ''] = path.split('/');
  const name = resource === 'leases' && verb !== 'create' ? lease : '';
  return { namespace, verb, group, resource, subresource, name };
}
