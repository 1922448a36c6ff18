/** What a contender is told, as JSON in its first argument. */
export interface Settings {
  /** `http://host:port` of the store. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** Made and removed by every run; of this contender alone. */
  readonly bucket: string;
  /** `http://host:port` that takes OTLP by gRPC. */
  readonly otlpEndpoint: string;
  readonly warmUpRuns: number;
}

/** Below MinIO's inline limit, and what the talk's program would store. */
export const OBJECT_BYTES = 4_096;
export const OBJECT_KEY = 'object';

export function readSettings(): Settings {
  return JSON.parse(process.argv[2] ?? '');
}
