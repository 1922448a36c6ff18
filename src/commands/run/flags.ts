/** Flags of `run`, as commander returns them. */
export interface RunFlags {
  readonly filename?: string[];
  readonly secret?: string[];
  readonly configMap?: string[];
  readonly target?: string[];
  readonly endpoint?: string;
  readonly accessKey?: string;
  readonly secretKey?: string;
  readonly region?: string;
  readonly caFile?: string;
  readonly bucket?: string;
  readonly size?: string[];
  readonly timeout?: string;
  readonly output: 'text' | 'json' | 'yaml';
  readonly exporter?: string;
  readonly jaegerUrl?: string;
  readonly count: string;
  readonly every?: string;
  readonly flushTimeout: string;
  readonly logLevel: string;
}
