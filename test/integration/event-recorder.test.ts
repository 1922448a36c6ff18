import { expect, inject, it, onTestFinished } from 'vitest';

import { systemClock } from '../../src/clock/system-clock.ts';
import { EVENT, EventRecorder, type RecordedEvent } from '../../src/kube/event-recorder.ts';
import type { KubeClient } from '../../src/kube/kube-client.ts';
import type { KubeObject, ObjectReference, ResourceType } from '../../src/kube/objects.ts';
import { listPage, patchObject } from '../../src/kube/resources.ts';
import { connectTo, createNamespace, NEVER, putConfigMap } from './kube.ts';

const { kube } = inject('servers');
const CORE_EVENT: ResourceType = { group: '', version: 'v1', plural: 'events', kind: 'Event' };

function startRecorder(client: KubeClient): { events: EventRecorder; warnings: object[] } {
  const warnings: object[] = [];
  const log = {
    debug: () => undefined,
    info: () => undefined,
    warn: (fields: object) => warnings.push(fields),
    error: (fields: object) => warnings.push(fields),
  };
  const events = new EventRecorder({
    client,
    clock: systemClock,
    random: Math.random,
    log,
    reportingController: 'storageprobe.dev/storage-probe',
    reportingInstance: `storage-probe-${'7d4b9'.repeat(40)}`,
  });
  onTestFinished(() => events.close());
  return { events, warnings };
}

async function createRegardedObject(
  client: ReturnType<typeof connectTo>,
): Promise<ObjectReference & { namespace: string }> {
  const namespace = await createNamespace(client, 'events');
  const { metadata } = await putConfigMap(client, namespace, 'my-minio');
  return { apiVersion: 'v1', kind: 'ConfigMap', namespace, name: 'my-minio', uid: metadata.uid ?? '' };
}

function failureEvent(regarding: ObjectReference, more: Partial<RecordedEvent> = {}): RecordedEvent {
  return {
    regarding,
    type: 'Warning',
    reason: 'ConnectionRefused',
    action: 'Probe',
    note: 'Trace 1',
    ...more,
  };
}

/** Uses the same field selector as `kubectl describe`. */
async function eventsAbout(
  client: KubeClient,
  { namespace, name, uid }: ObjectReference,
): Promise<KubeObject[]> {
  const fieldSelector = `involvedObject.name=${name},involvedObject.uid=${uid}`;
  const { items } = await listPage(client, CORE_EVENT, { namespace, fieldSelector }, NEVER);
  return items;
}

it('records repeated Events as one series with the newest note', async () => {
  const client = connectTo(kube.kubeconfigFile);
  const regarding = await createRegardedObject(client);
  const { events, warnings } = startRecorder(client);
  for (const note of ['Trace 1', 'Trace 2', 'Trace 3']) {
    events.record(failureEvent(regarding, { note }));
    await events.flush(NEVER);
  }
  events.record(failureEvent(regarding, { type: 'Normal', reason: 'Passed', note: 'x'.repeat(5_000) }));
  events.record(failureEvent(regarding, { reason: 'SlowDown', note: 'é'.repeat(5_000) }));
  await events.flush(NEVER);

  expect(warnings).toEqual([]);
  const found = await eventsAbout(client, regarding);
  expect(found).toHaveLength(3);
  expect(found.find((event) => 'reason' in event && event.reason === 'ConnectionRefused')).toMatchObject({
    type: 'Warning',
    action: 'Probe',
    message: 'Trace 3',
    series: { count: 3, lastObservedTime: expect.stringMatching(/\.\d{6}Z$/) as string },
    reportingComponent: 'storageprobe.dev/storage-probe',
    involvedObject: regarding,
  });
});

it('the events.k8s.io API rejects a changed note, so the recorder uses the core API', async () => {
  const client = connectTo(kube.kubeconfigFile);
  const regarding = await createRegardedObject(client);
  const { events } = startRecorder(client);
  events.record(failureEvent(regarding));
  await events.flush(NEVER);
  const [event] = await eventsAbout(client, regarding);
  const id = { namespace: regarding.namespace, name: event?.metadata.name ?? '' };
  const change = patchObject(client, EVENT, id, { note: 'Trace 2' }, NEVER);
  await expect(change).rejects.toMatchObject({ status: 422, reason: 'Invalid' });
});

it('drops an Event at once if its namespace does not exist', async () => {
  const client = connectTo(kube.kubeconfigFile);
  const { events, warnings } = startRecorder(client);
  events.record(failureEvent({ kind: 'ConfigMap', namespace: 'no-such-namespace', name: 'my-minio' }));
  await events.flush(NEVER);
  expect(events.dropped).toBe(1);
  expect(warnings).toMatchObject([{ reason: 'NotFound' }]);
});
