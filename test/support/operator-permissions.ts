/** Verb, resource, optional subresource and API group: `patch storageprobes/status@storageprobe.dev`. */
export type Permission = string;

/** Permissions that the operator needs in namespaces where it runs probes. */
export const RUN_PERMISSIONS: readonly Permission[] = [
  'list storageprobes@storageprobe.dev',
  'watch storageprobes@storageprobe.dev',
  'patch storageprobes/status@storageprobe.dev',
  'get secrets',
  'get configmaps',
  'create events@events.k8s.io',
  'patch events',
];

/** Permissions that the operator needs on its Lease. `create` is not restricted to the Lease's name. */
export const LEASE_PERMISSIONS: readonly Permission[] = ['get', 'watch', 'update', 'create'].map(
  (verb) => `${verb} leases@coordination.k8s.io`,
);

/** Permissions that the operator must not have in any namespace. */
export const FORBIDDEN_PERMISSIONS: readonly Permission[] = [
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
  'list configmaps',
  'watch configmaps',
  'update configmaps',
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

/** `resourceAttributes` of a `SubjectAccessReview` or `SelfSubjectAccessReview`. */
export interface ResourceAttributes {
  readonly namespace: string;
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly name: string;
}

/** @param lease name of the operator's Lease. */
export function resourceAttributes(
  permission: Permission,
  namespace: string,
  lease: string,
): ResourceAttributes {
  const [verb = '', object = ''] = permission.split(' ');
  const [path = '', group = ''] = object.split('@');
  const [resource = '', subresource = ''] = path.split('/');
  const name = resource === 'leases' && verb !== 'create' ? lease : '';
  return { namespace, verb, group, resource, subresource, name };
}
