import { cpus } from 'node:os';
import { parseArgs } from 'node:util';

import { ContenderProcess } from './contender-process.ts';
import {
  CONTENDER_NAMES,
  CONTENDERS,
  isContenderName,
  type Contender,
  type ContenderName,
} from './contenders.ts';
import type { Measurement } from './contenders/serve.ts';
import { OBJECT_BYTES, type Settings } from './contenders/settings.ts';
import { benchOperator, type ScenarioName, SCENARIO_NAMES } from './operator.ts';
import { profileContender } from './profile.ts';
import { PythonMissing } from './python.ts';
import { formatCosts, formatRatios, type Round } from './report.ts';
import { minioVersion, startServers, type Servers } from './servers.ts';
import { expectTraces } from './spans.ts';
import { measureStartUp } from './start-up.ts';

/** Enough for V8 to compile the hot code. With fewer runs, results depend more on the machine's load. */
const WARM_UP_RUNS = 1_500;

const USAGE = `Compares the cost of a storage-probe run with other programs that do the same, and measures the operator.

  --rounds <n>   number of rounds; every contender runs in each round (default 10)
  --runs <n>     runs per contender and round (default 50)
  --only <name>  run only this benchmark; may be repeated
                 contenders: ${CONTENDER_NAMES.join(', ')}
                 operator: ${SCENARIO_NAMES.join(', ')}, or operator for both
  --profile      show where CPU time is spent, for the benchmarks in --only (default ours)
`;

interface Options {
  readonly rounds: number;
  readonly runs: number;
  readonly names: readonly ContenderName[];
}

interface RunningContender {
  readonly name: ContenderName;
  readonly contender: Contender;
  readonly process: ContenderProcess;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '10' },
      runs: { type: 'string', default: '50' },
      only: { type: 'string', multiple: true },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return void process.stdout.write(USAGE);
  const rounds = parseCount('--rounds', values.rounds);
  const runs = parseCount('--runs', values.runs);
  const chosen = selectBenchmarks(
    values.only ?? (values.profile ? ['ours'] : [...CONTENDER_NAMES, 'operator']),
  );

  if (chosen.contenders.length > 0) {
    await using servers = await startServers();
    if (values.profile) {
      for (const name of chosen.contenders) {
        await profileContender(name, settingsOf(name, servers), rounds * runs);
      }
    } else {
      await compare({ names: chosen.contenders, rounds, runs }, servers);
    }
  }
  if (values.only === undefined && !values.profile) console.log(`\n${measureStartUp()}`);
  if (chosen.scenarios.length > 0) await benchOperator(chosen.scenarios, { isProfiled: values.profile });
}

async function compare({ names, rounds, runs }: Options, servers: Servers): Promise<void> {
  const [cpu] = cpus();
  console.log(
    [`${cpus().length} cores (${cpu?.model})`, `Node ${process.versions.node}`, await minioVersion()].join(
      ' · ',
    ),
  );
  console.log(
    `${rounds} rounds of ${runs} runs, after ${WARM_UP_RUNS} warm-up runs. One object of ${OBJECT_BYTES} bytes.`,
  );

  const contenders: RunningContender[] = [];
  try {
    for (const name of names) {
      const contender = await startContender(name, servers);
      if (contender !== undefined) contenders.push(contender);
    }
    const results: Round[] = [];
    for (let round = 0; round < rounds; round++) {
      results.push(await runRound(rotated(contenders, round), runs, servers));
    }
    const started = contenders.map(({ name }) => name);
    console.log(`\n${formatCosts(started, results)}`);
    console.log(
      'Medians of the rounds. CPU: user + system time of all threads, with span export. Wall: without the final flush.',
    );
    if (started.includes('ours') && started.length > 1) console.log(`\n${formatRatios(started, results)}`);
  } finally {
    await Promise.all(contenders.map((contender) => contender.process.stop()));
  }
}

/** @returns undefined if the contender cannot run on this machine. */
async function startContender(name: ContenderName, servers: Servers): Promise<RunningContender | undefined> {
  const contender: Contender = CONTENDERS[name];
  try {
    const command = await contender.command([]);
    return {
      name,
      contender,
      process: await ContenderProcess.start(name, command, settingsOf(name, servers)),
    };
  } catch (error) {
    if (!(error instanceof PythonMissing)) throw error;
    console.log(`SKIPPED ${name} (${contender.title}): ${error.message}`);
    return undefined;
  }
}

async function runRound(
  contenders: readonly RunningContender[],
  runs: number,
  servers: Servers,
): Promise<Round> {
  const round: Partial<Record<ContenderName, Measurement>> = {};
  for (const { name, contender, process: child } of contenders) {
    const sinceMs = Date.now();
    round[name] = await child.run(runs);
    if (contender.traces === undefined) continue;
    // The unmeasured run before the measurement is traced, too.
    await expectTraces(servers.jaeger.queryUrl, contender.traces, sinceMs, runs + 1);
  }
  return round;
}

function settingsOf(name: ContenderName, servers: Servers): Settings {
  return {
    endpoint: servers.minio.url,
    region: 'us-east-1',
    accessKey: servers.minio.rootUser,
    secretKey: servers.minio.rootPassword,
    bucket: `bench-${name}`,
    otlpEndpoint: servers.jaeger.otlpGrpcUrl,
    warmUpRuns: WARM_UP_RUNS,
  };
}

function rotated<T>(items: readonly T[], by: number): readonly T[] {
  const start = by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

function selectBenchmarks(names: readonly string[]): {
  readonly contenders: readonly ContenderName[];
  readonly scenarios: readonly ScenarioName[];
} {
  const known: readonly string[] = [...CONTENDER_NAMES, ...SCENARIO_NAMES, 'operator'];
  for (const name of names) {
    if (!known.includes(name)) throw new Error(`--only ${name}: must be one of ${known.join(', ')}`);
  }
  return {
    contenders: names.filter(isContenderName),
    scenarios: SCENARIO_NAMES.filter((name) => names.includes(name) || names.includes('operator')),
  };
}

function parseCount(option: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`${option} ${text}: must be a whole number above 0`);
}

await main();
