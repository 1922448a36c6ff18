import { hash, randomBytes } from 'node:crypto';
import { Agent } from 'node:http';
import { buffer } from 'node:stream/consumers';

import { Client, S3Error } from 'minio';

import { serve } from './serve.ts';
import { OBJECT_BYTES, OBJECT_KEY, readSettings } from './settings.ts';

const settings = readSettings();
const { bucket, region } = settings;
const { hostname, port } = new URL(settings.endpoint);
const agent = new Agent({ keepAlive: true });
const client = new Client({
  endPoint: hostname,
  port: Number(port),
  useSSL: false,
  accessKey: settings.accessKey,
  secretKey: settings.secretKey,
  region,
  transportAgent: agent,
  retryOptions: { disableRetry: true },
});

async function run(): Promise<void> {
  if (await client.bucketExists(bucket)) throw new Error('the bucket of the previous run still exists');
  await client.makeBucket(bucket, region);
  const object = randomBytes(OBJECT_BYTES);
  await client.putObject(bucket, OBJECT_KEY, object);
  const fetched = await buffer(await client.getObject(bucket, OBJECT_KEY));
  if (hash('sha256', fetched) !== hash('sha256', object))
    throw new Error('the fetched object differs from the one sent');
  await client.removeObject(bucket, OBJECT_KEY);
  if (await objectExists()) throw new Error('the object still exists');
  if (!(await client.bucketExists(bucket))) throw new Error('the bucket no longer exists');
  await client.removeBucket(bucket);
}

async function objectExists(): Promise<boolean> {
  try {
    await client.statObject(bucket, OBJECT_KEY);
    return true;
  } catch (error) {
    if (error instanceof S3Error && error.code === 'NotFound') return false;
    throw error;
  }
}

await serve(settings.warmUpRuns, run);
agent.destroy();
