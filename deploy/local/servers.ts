/** One server program: how it is found, and how it is built where it is not found. */
export interface Server {
  /** Name and version for people. */
  readonly title: string;
  /** Environment variable that may hold the path of a binary. */
  readonly variable: string;
  /** What `--version` prints, where another program has the same name. */
  readonly identity?: RegExp;
  /** Main package. */
  readonly package: string;
  /** Folder here whose `go.mod` and `go.sum` hold its versions. Default: the server's name. */
  readonly folder?: string;
  /**
   * The module to build inside of, where its go.mod has replaces: those count only in the main module. It is copied out
   * of Go's module cache first.
   */
  readonly inModule?: string;
  readonly ldflags: string;
  /** Go's build tags. */
  readonly tags?: string;
  /** How long the first build takes on two cores. */
  readonly takes: string;
  /** Container image that holds the same program. */
  readonly image: string;
}

const KUBERNETES_LDFLAGS = `-s -w ${[
  'k8s.io/component-base/version.gitVersion=v1.34.3',
  'k8s.io/component-base/version.gitMajor=1',
  'k8s.io/component-base/version.gitMinor=34',
]
  .map((stamp) => `-X ${stamp}`)
  .join(' ')}`;

export const SERVERS = {
  minio: {
    title: 'MinIO 2026-02-12',
    variable: 'STORAGE_PROBE_MINIO',
    package: 'github.com/minio/minio',
    ldflags: '-s -w',
    takes: '4–6 min',
    image: 'quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z',
  },
  mc: {
    title: "MinIO's client 2025-03-13",
    variable: 'STORAGE_PROBE_MC',
    identity: /MinIO/,
    package: 'github.com/minio/mc',
    ldflags: '-s -w',
    takes: '1 min',
    image: 'quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z',
  },
  jaeger: {
    title: 'Jaeger 2.13.0',
    variable: 'STORAGE_PROBE_JAEGER',
    package: './cmd/jaeger',
    inModule: 'github.com/jaegertracing/jaeger',
    ldflags: '-s -w -X github.com/jaegertracing/jaeger/internal/version.latestVersion=v2.13.0',
    takes: '5–10 min',
    image: 'jaegertracing/jaeger:2.13.0',
  },
  etcd: {
    title: 'etcd 3.6.11',
    variable: 'STORAGE_PROBE_ETCD',
    package: 'go.etcd.io/etcd/server/v3',
    ldflags: '-s -w',
    takes: '1 min',
    image: 'registry.k8s.io/etcd:3.6.11-0',
  },
  'kube-apiserver': {
    title: 'kube-apiserver 1.34.3',
    variable: 'STORAGE_PROBE_KUBE_APISERVER',
    package: 'k8s.io/kubernetes/cmd/kube-apiserver',
    folder: 'kubernetes',
    ldflags: KUBERNETES_LDFLAGS,
    takes: '5–8 min',
    image: 'registry.k8s.io/kube-apiserver:v1.34.3',
  },
  kubectl: {
    title: 'kubectl 1.34.3',
    variable: 'STORAGE_PROBE_KUBECTL',
    package: 'k8s.io/kubernetes/cmd/kubectl',
    folder: 'kubernetes',
    ldflags: KUBERNETES_LDFLAGS,
    takes: '1–2 min',
    image: 'registry.k8s.io/kubectl:v1.34.3',
  },
  helm: {
    title: 'Helm 4.3.1',
    variable: 'STORAGE_PROBE_HELM',
    package: 'helm.sh/helm/v4/cmd/helm',
    ldflags: '-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1',
    takes: '3 min',
    image: 'alpine/helm:4.3.1',
  },
  promtool: {
    title: 'promtool 3.16.0',
    variable: 'STORAGE_PROBE_PROMTOOL',
    package: 'github.com/prometheus/prometheus/cmd/promtool',
    ldflags: '-s -w -X github.com/prometheus/common/version.Version=3.16.0',
    // Without the clients of two dozen clouds.
    tags: 'remove_all_sd',
    takes: '2 min',
    image: 'prom/prometheus:v3.16.0',
  },
} as const satisfies Record<string, Server>;

export type ServerName = keyof typeof SERVERS;

export function isServerName(name: string): name is ServerName {
  return Object.hasOwn(SERVERS, name);
}
