/** Settings of a contender, passed as JSON in its first argument. */
export interface Settings {
  /** `http://host:port` of the store. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** Created and removed by every run. No other contender uses it. */
  readonly bucket: string;
  /** `http://host:port` of the OTLP/gRPC receiver. */
  readonly otlpEndpoint: string;
  readonly warmUpRuns: number;
}

/** Below MinIO's inline limit. The talk's program stores an object of this size. */
export const OBJECT_BYTES = 4_096;
export const OBJECT_KEY = 'object';

export function readSettings(): Settings {
  return JSON.parse(process.argv[2] ?? '');
}
