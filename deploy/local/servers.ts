/** A server program: how to find it, and how to build it if it is not installed. */
export interface Server {
  /** Display name with version. */
  readonly title: string;
  /** Environment variable with the path of a binary to use. */
  readonly envVariable: string;
  /** Matches this program's `--version` output, but not the output of other programs with the same name. */
  readonly versionPattern?: RegExp;
  /** Go package to build. */
  readonly package: string;
  /** Folder next to this file whose `go.mod` and `go.sum` pin the versions. Default: the server's name. */
  readonly folder?: string;
  /**
   * Module to copy out of Go's module cache and build as the main module. Needed if its go.mod has `replace` directives,
   * which apply only in the main module.
   */
  readonly buildInModule?: string;
  readonly ldflags: string;
  /** Go's build tags. */
  readonly tags?: string;
  /** Time that the first build takes on two cores. */
  readonly buildTime: string;
  /** Container image that contains the program. */
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
    envVariable: 'STORAGE_PROBE_MINIO',
    package: 'github.com/minio/minio',
    ldflags: '-s -w',
    buildTime: '4–6 min',
    image: 'quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z',
  },
  mc: {
    title: "MinIO's client 2025-03-13",
    envVariable: 'STORAGE_PROBE_MC',
    versionPattern: /MinIO/,
    package: 'github.com/minio/mc',
    ldflags: '-s -w',
    buildTime: '1 min',
    image: 'quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z',
  },
  jaeger: {
    title: 'Jaeger 2.13.0',
    envVariable: 'STORAGE_PROBE_JAEGER',
    package: './cmd/jaeger',
    buildInModule: 'github.com/jaegertracing/jaeger',
    ldflags: '-s -w -X github.com/jaegertracing/jaeger/internal/version.latestVersion=v2.13.0',
    buildTime: '5–10 min',
    image: 'jaegertracing/jaeger:2.13.0',
  },
  versitygw: {
    title: 'VersityGW 1.7.0',
    envVariable: 'STORAGE_PROBE_VERSITYGW',
    package: 'github.com/versity/versitygw/cmd/versitygw',
    ldflags: '-s -w -X main.Version=v1.7.0',
    buildTime: '1 min',
    image: 'versity/versitygw:v1.7.0',
  },
  caddy: {
    title: 'Caddy 2.11.9',
    envVariable: 'STORAGE_PROBE_CADDY',
    package: 'github.com/caddyserver/caddy/v2/cmd/caddy',
    ldflags: '-s -w',
    buildTime: '2 min',
    image: 'caddy:2.11.9',
  },
  etcd: {
    title: 'etcd 3.6.11',
    envVariable: 'STORAGE_PROBE_ETCD',
    package: 'go.etcd.io/etcd/server/v3',
    ldflags: '-s -w',
    buildTime: '1 min',
    image: 'registry.k8s.io/etcd:3.6.11-0',
  },
  'kube-apiserver': {
    title: 'kube-apiserver 1.34.3',
    envVariable: 'STORAGE_PROBE_KUBE_APISERVER',
    package: 'k8s.io/kubernetes/cmd/kube-apiserver',
    folder: 'kubernetes',
    ldflags: KUBERNETES_LDFLAGS,
    buildTime: '5–8 min',
    image: 'registry.k8s.io/kube-apiserver:v1.34.3',
  },
  kubectl: {
    title: 'kubectl 1.34.3',
    envVariable: 'STORAGE_PROBE_KUBECTL',
    package: 'k8s.io/kubernetes/cmd/kubectl',
    folder: 'kubernetes',
    ldflags: KUBERNETES_LDFLAGS,
    buildTime: '1–2 min',
    image: 'registry.k8s.io/kubectl:v1.34.3',
  },
  helm: {
    title: 'Helm 4.3.1',
    envVariable: 'STORAGE_PROBE_HELM',
    package: 'helm.sh/helm/v4/cmd/helm',
    ldflags: '-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1',
    buildTime: '3 min',
    image: 'alpine/helm:4.3.1',
  },
  promtool: {
    title: 'promtool 3.16.0',
    envVariable: 'STORAGE_PROBE_PROMTOOL',
    package: 'github.com/prometheus/prometheus/cmd/promtool',
    ldflags: '-s -w -X github.com/prometheus/common/version.Version=3.16.0',
    // Leaves out the service discovery clients for two dozen clouds.
    tags: 'remove_all_sd',
    buildTime: '2 min',
    image: 'prom/prometheus:v3.16.0',
  },
} as const satisfies Record<string, Server>;

export type ServerName = keyof typeof SERVERS;

export function isServerName(name: string): name is ServerName {
  return Object.hasOwn(SERVERS, name);
}
