import { mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ContenderProcess } from './contender-process.ts';
import { CONTENDERS, type ContenderName } from './contenders.ts';
import type { Settings } from './contenders/settings.ts';
import { formatTable } from './table.ts';

const SAMPLING_INTERVAL_US = 200;
const TOP_ROWS = 30;

/** What `--cpu-prof` writes: the Profile of the Chrome DevTools Protocol; times in µs. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Runs a contender under V8's sampling profiler and prints where its own time goes. Its warm-up does not count. */
export async function profileContender(name: ContenderName, settings: Settings, runs: number): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), `storage-probe-profile-${name}-`));
  const command = await CONTENDERS[name].command(profilerArgs(dir));
  const contender = await ContenderProcess.start(name, command, settings);
  const sinceUs = nowUs();
  const { cpuUserMs, cpuSystemMs } = await contender.run(runs);
  const untilUs = nowUs();
  await contender.stop();
  await printProfile(dir, { name, runs, cpuMs: cpuUserMs + cpuSystemMs, sinceUs, untilUs });
}

/** For Node's command line: the profile is written to `dir` when the process ends. */
export function profilerArgs(dir: string): string[] {
  return ['--cpu-prof', `--cpu-prof-dir=${dir}`, `--cpu-prof-interval=${SAMPLING_INTERVAL_US}`];
}

/** By the clock that V8 stamps samples with. */
export function nowUs(): number {
  return Number(process.hrtime.bigint() / 1_000n);
}

export interface Profiled {
  readonly name: string;
  /** In the time that counts. */
  readonly runs: number;
  readonly cpuMs: number;
  readonly sinceUs: number;
  readonly untilUs: number;
}

/** @param dir holds the profile of one process that has ended. */
export async function printProfile(dir: string, { name, runs, cpuMs, ...counted }: Profiled): Promise<void> {
  const [file] = await readdir(dir);
  if (file === undefined) throw new Error(`${name} left no profile: it is not a Node program`);
  const path = join(dir, file);
  const profile: CpuProfile = JSON.parse(await readFile(path, 'utf8'));
  const { byFunction, byPackage } = selfTimes(profile, counted);
  const cpuMsPerRun = cpuMs / runs;

  console.log(`\n${name}: ${runs} runs of ${cpuMsPerRun.toFixed(2)} ms CPU under the profiler; ${path}`);
  console.log(`\n${formatShares('function', byFunction, cpuMsPerRun)}`);
  console.log(`\n${formatShares('package', byPackage, cpuMsPerRun)}`);
}

interface SelfTimes {
  /** In µs, by V8's clock: a wait for a core counts too, so that only the shares say something. */
  readonly byFunction: ReadonlyMap<string, number>;
  readonly byPackage: ReadonlyMap<string, number>;
}

function selfTimes(
  profile: CpuProfile,
  { sinceUs, untilUs }: Pick<Profiled, 'sinceUs' | 'untilUs'>,
): SelfTimes {
  const frames = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
  const byFunction = new Map<string, number>();
  const byPackage = new Map<string, number>();
  let timeUs = profile.startTime;
  profile.samples.forEach((id, i) => {
    timeUs += profile.timeDeltas[i] ?? 0;
    const frame = frames.get(id);
    if (frame === undefined || frame.functionName === '(idle)') return;
    if (timeUs < sinceUs || timeUs > untilUs) return;
    // A sample stands for the time until the next one.
    const lastedUs = profile.timeDeltas[i + 1] ?? 0;
    const file = fileOf(frame.url);
    add(byFunction, `${frame.functionName || '(anonymous)'}  ${file}:${frame.lineNumber + 1}`, lastedUs);
    add(byPackage, packageOf(file), lastedUs);
  });
  return { byFunction, byPackage };
}

function add(times: Map<string, number>, key: string, us: number): void {
  times.set(key, (times.get(key) ?? 0) + us);
}

/** Relative to this project; Node's own modules keep their names. */
function fileOf(url: string): string {
  const root = new URL('../..', import.meta.url).href;
  return url.replace(root, '') || 'native';
}

function packageOf(file: string): string {
  return /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? file;
}

function formatShares(head: string, times: ReadonlyMap<string, number>, cpuMsPerRun: number): string {
  const totalUs = [...times.values()].reduce((sum, us) => sum + us, 0);
  const sorted = [...times].toSorted(([, a], [, b]) => b - a).slice(0, TOP_ROWS);
  return formatTable([
    ['self', 'ms a run', head],
    ...sorted.map(([key, us]) => {
      const share = us / totalUs;
      return [`${(share * 100).toFixed(1)} %`, (share * cpuMsPerRun).toFixed(3), key];
    }),
  ]);
}
