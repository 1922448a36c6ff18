import { mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ContenderProcess } from './contender-process.ts';
import { CONTENDERS, type ContenderName } from './contenders.ts';
import type { Settings } from './contenders/settings.ts';
import { formatTable } from './table.ts';

const SAMPLING_INTERVAL_US = 200;
const TOP_ROWS = 30;

/** The output of `--cpu-prof`: a Profile of the Chrome DevTools Protocol. Times are in µs. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Runs a contender under V8's sampling profiler and prints its self times. Warm-up is excluded. */
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

/** Node options that write a profile to `dir` when the process exits. */
export function profilerArgs(dir: string): string[] {
  return ['--cpu-prof', `--cpu-prof-dir=${dir}`, `--cpu-prof-interval=${SAMPLING_INTERVAL_US}`];
}

/** Current time on the clock that V8 uses for sample timestamps. */
export function nowUs(): number {
  return Number(process.hrtime.bigint() / 1_000n);
}

export interface ProfiledRuns {
  readonly name: string;
  /** Runs between `sinceUs` and `untilUs`. */
  readonly runs: number;
  readonly cpuMs: number;
  readonly sinceUs: number;
  readonly untilUs: number;
}

/** @param dir contains the profile of one process that has exited. */
export async function printProfile(
  dir: string,
  { name, runs, cpuMs, ...window }: ProfiledRuns,
): Promise<void> {
  const [file] = await readdir(dir);
  if (file === undefined) throw new Error(`${name} wrote no profile because it is not a Node program`);
  const path = join(dir, file);
  const profile: CpuProfile = JSON.parse(await readFile(path, 'utf8'));
  const { byFunction, byPackage } = selfTimes(profile, window);
  const cpuMsPerRun = cpuMs / runs;

  console.log(
    `\n${name}: ${runs} runs, ${cpuMsPerRun.toFixed(2)} ms CPU per run under the profiler; profile: ${path}`,
  );
  console.log(`\n${formatShares('function', byFunction, cpuMsPerRun)}`);
  console.log(`\n${formatShares('package', byPackage, cpuMsPerRun)}`);
}

interface SelfTimes {
  /** In µs of wall time. Includes time spent waiting for a core, so only the shares are meaningful. */
  readonly byFunction: ReadonlyMap<string, number>;
  readonly byPackage: ReadonlyMap<string, number>;
}

function selfTimes(
  profile: CpuProfile,
  { sinceUs, untilUs }: Pick<ProfiledRuns, 'sinceUs' | 'untilUs'>,
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
    // A sample represents the time until the next sample.
    const durationUs = profile.timeDeltas[i + 1] ?? 0;
    const file = fileOf(frame.url);
    add(byFunction, `${frame.functionName || '(anonymous)'}  ${file}:${frame.lineNumber + 1}`, durationUs);
    add(byPackage, packageOf(file), durationUs);
  });
  return { byFunction, byPackage };
}

function add(times: Map<string, number>, key: string, us: number): void {
  times.set(key, (times.get(key) ?? 0) + us);
}

/** Path relative to this project. Node's built-in modules keep their names. */
function fileOf(url: string): string {
  const root = new URL('../..', import.meta.url).href;
  return url.replace(root, '') || 'native';
}

function packageOf(file: string): string {
  return /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? file;
}

function formatShares(header: string, times: ReadonlyMap<string, number>, cpuMsPerRun: number): string {
  const totalUs = [...times.values()].reduce((sum, us) => sum + us, 0);
  const sorted = [...times].toSorted(([, a], [, b]) => b - a).slice(0, TOP_ROWS);
  return formatTable([
    ['self', 'ms/run', header],
    ...sorted.map(([key, us]) => {
      const share = us / totalUs;
      return [`${(share * 100).toFixed(1)} %`, (share * cpuMsPerRun).toFixed(3), key];
    }),
  ]);
}
