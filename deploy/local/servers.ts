/** One server program: how it is found, and how it is built where it is not found. */
export interface Server {
  /** Name and version for people. */
  readonly title: string;
  /** Environment variable that may hold the path of a binary. */
  readonly variable: string;
  /** What `--version` prints, where another program has the same name. */
  readonly identity?: RegExp;
  /** Main package. Its versions stand in `go.mod` and `go.sum` of `deploy/local/<name>/`. */
  readonly package: string;
  /**
   * The module to build inside of, where its go.mod has replaces: those count only in the main module. It is copied out
   * of Go's module cache first.
   */
  readonly inModule?: string;
  readonly ldflags: string;
  /** How long the first build takes on two cores. */
  readonly takes: string;
  /** Container image that holds the same program. */
  readonly image: string;
}

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
} as const satisfies Record<string, Server>;

export type ServerName = keyof typeof SERVERS;

export function isServerName(name: string): name is ServerName {
  return Object.hasOwn(SERVERS, name);
}
