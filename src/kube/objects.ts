/** The fields of `metav1.ObjectMeta` that this project uses. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  finalizers?: string[];
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

/** The fields of `corev1.ObjectReference` that Events need. */
export interface ObjectReference {
  apiVersion?: string;
  kind?: string;
  namespace?: string;
  name?: string;
  uid?: string;
  resourceVersion?: string;
  fieldPath?: string;
}

/** A kind of resource and the names that identify it in API paths. */
export interface ResourceType {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
}

export interface ResourceLocation {
  /** Absent for cluster-scoped resources and for all namespaces. */
  readonly namespace?: string | undefined;
  /** Absent for a collection. */
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

/** Returns `namespace/name`, or only the name if the object is cluster-scoped. */
export function objectKey({ metadata: { namespace, name } }: KubeObject): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

export function apiVersionOf({ group, version }: ResourceType): string {
  return group === '' ? version : `${group}/${version}`;
}

export function resourcePath(
  type: ResourceType,
  { namespace, name, subresource }: ResourceLocation = {},
): string {
  const segments = [type.group === '' ? 'api' : 'apis', apiVersionOf(type)];
  if (namespace !== undefined) segments.push('namespaces', encodeURIComponent(namespace));
  segments.push(type.plural);
  if (name !== undefined) segments.push(encodeURIComponent(name));
  if (subresource !== undefined) segments.push(subresource);
  return `/${segments.join('/')}`;
}
