import { preparePython } from './python.ts';
import type { TraceShape } from './spans.ts';

export interface Contender {
  readonly title: string;
  readonly requestsPerRun: number;
  /** Absent if the contender creates no spans. */
  readonly traces?: TraceShape;
  /** @param nodeArgs options for Node itself. Contenders that do not run on Node ignore them. */
  readonly command: (nodeArgs: readonly string[]) => Promise<readonly string[]>;
}

export const CONTENDERS = {
  ours: {
    title: 'storage-probe, traced',
    requestsPerRun: 8,
    // One run, six steps and eight calls.
    traces: { service: 'storage-probe-bench', spansPerRun: 15 },
    command: nodeScript('traced-run.ts'),
  },
  talk: {
    title: "the talk's program in Python, traced",
    requestsPerRun: 7,
    traces: { service: 'my-minio', spansPerRun: 7 },
    command: async () => [await preparePython(), pathOf('talk/contender.py')],
  },
  'minio-js': {
    title: 'bare minio-js',
    requestsPerRun: 8,
    command: nodeScript('minio-js.ts'),
  },
  undici: {
    title: 'hand-signed over undici',
    requestsPerRun: 8,
    command: nodeScript('undici.ts'),
  },
  socket: {
    title: 'hand-signed over a bare socket (lower bound)',
    requestsPerRun: 8,
    command: nodeScript('socket.ts'),
  },
} as const satisfies Record<string, Contender>;

export type ContenderName = keyof typeof CONTENDERS;

export const CONTENDER_NAMES = Object.keys(CONTENDERS).filter(isContenderName);

export function isContenderName(name: string): name is ContenderName {
  return Object.hasOwn(CONTENDERS, name);
}

function nodeScript(file: string): Contender['command'] {
  return async (nodeArgs) => [process.execPath, ...nodeArgs, pathOf(`contenders/${file}`)];
}

function pathOf(file: string): string {
  return new URL(file, import.meta.url).pathname;
}
